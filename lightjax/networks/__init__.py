"""Networks: from pictures to named activations."""


def __getattr__(name):
    if name == "load_model":
        from lightjax.networks.weights import load_model

        return load_model
    raise AttributeError(name)
