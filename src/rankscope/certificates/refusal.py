"""How whatever is no certificate is refused."""

from rankscope.errors import RankscopeError, error


def malformed(what: str) -> RankscopeError:
    """The error for a certificate that is not one."""
    return error(
        "RS209", f"the certificate is malformed or was altered: {what}", "ask for the original, or make it anew"
    )


def require(condition: bool, what: str) -> None:
    """Refuse a certificate of which `what` is true unless the condition holds."""
    if not condition:
        raise malformed(what)
