"""Who may: UCAN 1.0 delegations, invocations, policies and chains of proofs."""
