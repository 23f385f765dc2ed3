module parlance.dev/e2e/cluster/vertical-pod-autoscaler

go 1.26.8

require k8s.io/autoscaler/vertical-pod-autoscaler v1.8.1
