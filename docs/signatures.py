"""Signatures in the reference: a constructor made by `@primitive` takes no activations, and returns an objective."""

import griffe


class Primitives(griffe.Extension):
    """Drop the argument `activations` of decorated formulas."""

    def on_function(self, *, func: griffe.Function, **kwargs) -> None:
        """Change one function."""
        if any(str(decorator.value) == "primitive" for decorator in func.decorators):
            if "activations" in func.parameters:
                del func.parameters["activations"]
            func.returns = "Objective"
