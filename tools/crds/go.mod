module sluice.dev/tools/crds

go 1.24.0

// No Go code: the modules are fetched for the custom resource definitions inside them, and go.sum pins what is inside.
require (
	istio.io/api v1.32.0
	sigs.k8s.io/gateway-api v1.6.1
)
