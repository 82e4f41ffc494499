"""Why an invocation or a delegation was refused, by UCAN's own names.

`ucan_name` is the name in the UCAN 1.0.0 fixtures; ``code`` is our protocol's.
"""

from typing import ClassVar

from nunet_node.errors import PeerError


class CapabilityError(PeerError):
    """A token that does not show that its issuer may do this."""

    code = "capability"
    ucan_name: ClassVar[str] = "InvalidClaim"
    """What the UCAN specification calls it."""


class InvalidClaimError(CapabilityError):
    """A token that is malformed, or claims what its proofs cannot give."""

    code = "capability.claim"


class UnavailableProofError(CapabilityError):
    """A proof that is named but was not sent along."""

    code = "capability.unavailable-proof"
    ucan_name = "UnavailableProof"


class ExpiredError(CapabilityError):
    """The token or a proof holds no longer."""

    code = "capability.expired"
    ucan_name = "Expired"


class TooEarlyError(CapabilityError):
    """A proof does not hold yet."""

    code = "capability.too-early"
    ucan_name = "TooEarly"


class InvalidAudienceError(CapabilityError):
    """The token is for somebody else, or a proof was given to somebody else."""

    code = "capability.audience"
    ucan_name = "InvalidAudience"


class InvalidSubjectError(CapabilityError):
    """A proof is about somebody else's resources."""

    code = "capability.subject"
    ucan_name = "InvalidSubject"


class InvalidSignatureError(CapabilityError):
    """The signature of the token or of a proof does not hold."""

    code = "capability.signature"
    ucan_name = "InvalidSignature"


class MatchError(CapabilityError):
    """The arguments do not satisfy a policy of a proof."""

    code = "capability.policy"
    ucan_name = "MatchError"


class RevokedError(CapabilityError):
    """A proof, or the token itself, has been revoked."""

    code = "capability.revoked"
    ucan_name = "Revoked"
