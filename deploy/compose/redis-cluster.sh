#!/bin/sh
# Makes a Redis Cluster, one replica for each master, of all containers that a name
# of Docker's resolver stands for. Does nothing when they are one already.
set -eu
name=$1
nodes=$(getent ahostsv4 "$name" | awk '{print $1}' | sort -u)
first=$(echo "$nodes" | head -n 1)
if ! redis-cli -h "$first" cluster info | grep -q cluster_state:ok; then
	# shellcheck disable=SC2046 # one argument for each node
	redis-cli --cluster create $(for node in $nodes; do echo "$node:6379"; done) --cluster-replicas 1 --cluster-yes
fi
for node in $nodes; do
	until redis-cli -h "$node" cluster info | grep -q cluster_state:ok; do sleep 0.2; done
done
echo "the cluster is ready: $(echo "$nodes" | tr '\n' ' ')"
