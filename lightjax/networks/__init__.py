"""Networks: from pictures to named activations."""
