"""What can go wrong between a robot and a policy server."""


class ClientError(Exception):
    """The server cannot be reached, or answers with what is no answer."""


class LateError(ClientError):
    """The answer did not come in time; when it comes, it is dropped."""


class RefusedError(ClientError):
    """The server says what is wrong with the observation."""
