#!/usr/bin/env python3
"""A Ray cluster on this machine, for tests: a head that runs no tasks, and two nodes of two processors.

Prints its address, then answers each line of its stdin with a line of JSON, and ends when stdin does:

    running      [[name of a task, its node], …]: what Ray's dashboard shows as running
    kill NODE    true: the node is gone at once, as by a loss of power

Needs `pip install 'ray[default]'`.
"""

import json
import os
import sys

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

# Ray prints what it does, too; stdout is for the answers.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_tasks


def main() -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": True},
    )
    added = [cluster.add_node(num_cpus=2) for _ in range(2)]
    nodes = {node.node_id: node for node in added}
    ray.init(cluster.address, log_to_driver=False)
    print(cluster.address, file=ANSWERS, flush=True)
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "running":
            running = list_tasks(filters=[("state", "=", "RUNNING")])
            answer = [[task.name, task.node_id] for task in running]
        else:
            cluster.remove_node(nodes[rest[0]], allow_graceful=False)
            answer = True
        print(json.dumps(answer), file=ANSWERS, flush=True)
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main()
