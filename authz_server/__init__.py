"""External authorization for Envoy: identities checked against policies as code."""
