"""Calls a room's verbs as the command line does, and gives what they print."""

from typer.testing import CliRunner


def caller(app):
    """A function from arguments to stdout; errors come as they were raised."""

    def call(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return call
