//! Functions, as their calls need them.

use crate::onnx::element_name;
use crate::onnx::messages::{FunctionProto, NodeProto};

use super::super::known::{
    Attributes, Env, Known, TYPE_ATTRIBUTES, bound, callee_of, is_own, put_body, take_body,
};
use super::walk::{Ends, Scope, Site, Walk, Walked};
use super::{Variant, at_fault, key_of};

impl Walk<'_> {
    /// Makes a node call its function as it is for the types of this call; gives the types of what it makes.
    pub(super) fn call(
        &mut self,
        node: &mut NodeProto,
        site: &Site<'_>,
        before: &NodeProto,
    ) -> Walked<Vec<i32>> {
        let plan = self.plan;
        let Some(function) = plan.reading.function(before) else {
            return Err(at_fault(before, "it calls no function"));
        };
        let known: Vec<Known> = before.input.iter().map(|i| site.env.known(i)).collect();
        let attributes = bound(function, before, site.call);
        // What says a type in the body is an attribute of the call.
        let referred = function.node.iter().flat_map(|n| &n.attribute);
        let referred = referred.filter(|a| TYPE_ATTRIBUTES.contains(&a.name()));
        let types = referred.filter_map(|a| attributes.get(a.ref_attr_name.as_deref()?)?.i);
        let elements = known.iter().map(|k| i64::from(k.element));
        let given: Vec<i64> = elements.chain(types).collect();
        let callee = callee_of(function);
        let found = self
            .variants
            .iter()
            .find(|v| v.callee == callee && v.given == given);
        if let Some(variant) = found {
            node.op_type = Some(variant.name.clone());
            return Ok(variant.outputs.clone());
        }
        // The first takes the place of the function, unless some calls need that as it is.
        let first = !self.variants.iter().any(|v| v.callee == callee) && plan.keep.is_empty();
        let mut name = callee.1.clone();
        if !first {
            let taken = self.taken.entry(callee.0.clone()).or_default();
            let hint = format!("{name}_{}", element_name(plan.to));
            name.clone_from(&hint);
            let mut count = 1;
            while !taken.insert(name.clone()) {
                count += 1;
                name = format!("{hint}_{count}");
            }
        }
        let (function, outputs) = self.specialised(function, &name, &known, &attributes)?;
        node.op_type = Some(name.clone());
        self.variants.push(Variant {
            callee,
            given,
            name,
            function,
            outputs: outputs.clone(),
        });
        Ok(outputs)
    }

    /// A function for inputs of these types.
    fn specialised(
        &mut self,
        function: &FunctionProto,
        name: &str,
        given: &[Known],
        attributes: &Attributes,
    ) -> Walked<(FunctionProto, Vec<i32>)> {
        let mut function = function.clone();
        function.name = Some(name.to_owned());
        let mut body = take_body(&mut function);
        let own = function
            .opset_import
            .iter()
            .find(|o| is_own(o.domain.as_deref()));
        let opset = own
            .and_then(|o| o.version)
            .unwrap_or(self.plan.model.opset());
        let env = self
            .plan
            .reading
            .graph(&body, opset, &Env::default(), given, attributes);
        let way = [format!("function `{}`", key_of(&function))];
        let site = Site {
            scope: &way,
            opset,
            env: &env,
            call: attributes,
        };
        let ends = Ends {
            inputs: true,
            outputs: true,
        };
        let mut names = crate::graph::messages::names(&body);
        let outputs = self.graph(&mut body, &site, &Scope::default(), ends, &mut names)?;
        put_body(&mut function, body);
        Ok((function, outputs))
    }
}
