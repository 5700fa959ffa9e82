/* onnxruntime's C library, of a Python package that has it in its module alone.
 *
 * The wheels of onnxruntime-training have no libonnxruntime.so: all of it is in the module onnxruntime_pybind11_state, which
 * exports nothing but what Python asks for. Its C API is in there all the same, at a place that make.py finds: it registers
 * this library as one of custom operators, which is given the API. Python itself is not started; the module links to its
 * library.
 *
 * make.py defines LIBPYTHON, MODULE (paths) and PLACE, where the API stands in the module, 0 while it looks for that.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>

typedef struct OrtApiBase OrtApiBase;

const OrtApiBase *given;

void *RegisterCustomOps(void *options, const OrtApiBase *base) {
  (void)options;
  given = base;
  return NULL;
}

const OrtApiBase *OrtGetApiBase(void) {
  Dl_info found;
  void *python = dlopen(LIBPYTHON, RTLD_LAZY | RTLD_GLOBAL);
  void *module = python ? dlopen(MODULE, RTLD_LAZY) : NULL;
  void *symbol = module ? dlsym(module, "PyInit_onnxruntime_pybind11_state") : NULL;
  if (!symbol || !dladdr(symbol, &found)) {
    fprintf(stderr, "%s\n", dlerror());
    return NULL;
  }
  return (const OrtApiBase *)((char *)found.dli_fbase + PLACE);
}
