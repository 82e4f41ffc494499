"""Why a DID, a statement or a challenge was refused; the codes are protocol."""

from nunet_node.errors import PeerError


class IdentityError(PeerError):
    """Something that does not prove who said it."""

    code = "identity"


class InvalidDidError(IdentityError):
    """Not a DID, or not its only spelling."""

    code = "identity.did"


class MethodNotSupportedError(IdentityError):
    """A DID of a method that cannot be resolved without a network."""

    code = "identity.did-method"


class UnresolvedDidError(IdentityError):
    """A DID whose document could not be had, so that nothing of it can be believed."""

    code = "identity.unresolved"


class InvalidKeyError(IdentityError):
    """A public key of a wrong length, off its curve or of small order."""

    code = "identity.key"


class UnsupportedKeyError(IdentityError):
    """A key of a kind that is not spoken, or that cannot do what is asked of it."""

    code = "identity.key-type"


class InvalidSignatureError(IdentityError):
    """The signature is not this key's over these bytes."""

    code = "identity.signature"


class WrongKindError(IdentityError):
    """A statement of another kind, or another algorithm, than belongs here."""

    code = "identity.kind"


class WrongIssuerError(IdentityError):
    """The statement's key is not its issuer's."""

    code = "identity.issuer"


class WrongAudienceError(IdentityError):
    """The statement was made for somebody else."""

    code = "identity.audience"


class StaleError(IdentityError):
    """The statement has expired, is from the future, or its times are out of order."""

    code = "identity.stale"


class PeerIdError(IdentityError):
    """Not the peer id of an Ed25519 key."""

    code = "identity.peer-id"


class ChallengeError(IdentityError):
    """A challenge that must not be answered: it is not about what is being asked."""

    code = "identity.challenge"


class LockedError(IdentityError):
    """An identity that is under a passphrase, which was not given."""

    code = "identity.locked"


class WalletError(IdentityError):
    """A file that is not an identity."""

    code = "identity.wallet"


class UnsealError(IdentityError):
    """A sealed message does not open with this key, for this use."""

    code = "identity.sealed"
