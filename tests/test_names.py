"""The table of names: every expression in it runs, and every name of the other systems is in it."""

import contextlib
import dataclasses
import inspect
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import typer

import lightjax as lj
from lightjax import cli
from lightjax.networks import ARCHITECTURES, weights

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "names.md").read_text()
INTRODUCTION, LEFT_OUT = "In the expressions", "Not here"

# What a user of the three systems looks for: the names in the reference of their formulas, and of their arguments.
NAMES = {
    "objectives": """
        Objective Objective.sum as_objective wrap_objective channel neuron direction direction_cossim direction_neuron
        tensor_direction cossim_pow deepdream class_logit channel_interpolate alignment diversity input_diff L1 L2
        total_variation blur_input_each_step blur_alpha_each_step penalize_boundary_complexity dot_compare
        feature_inversion gram_style StyleLoss mean_l1_loss mean_L1 mean_L2 direction_neuron_S direction_neuron_cossim_S
        neuron_weight channel_weight localgroup_weight batch
        Hook MultiHook create_objective create_objective_from_function create_objective_with_multi_hook
        extractor_function extractor_function_kwargs loss_function mean_loss sum_loss norm_loss diversity_loss
        alignment_loss neuron_direction_in_layer neuron_direction_in_layer_at_pos neuron_direction_in_channel
        get_nth_matrix_element get_matrix_element_at_position get_matrix_element_around_position
        mixed4a_pre_relu mixed4a_1x1_pre_relu_conv
    """,
    "images": """
        image get_image pixel_image naive fft_image decay_power rfft2d_freqs laplacian_pyramid_image laplacian_pyramid
        lowres_tensor multi_interpolation_basis cppn CompositeActivation image_sample to_valid_rgb convert_to_valid_rgb
        color_correlation_svd_sqrt color_mean linear_decorelate_color constrain_L_inf unit_ball_L2 unit_ball_L_inf
        bilinearly_sampled_image param_f sd decorrelate fft alpha sigmoid channels init_val scaling_method min_max norm
        clamp upconvGAN textured_mesh
    """,
    "transforms": """
        jitter random_jitter pad pad_image random_scale random_rotate units crop_or_pad_to crop_image normalize_gradient
        grad_scales collapse_alpha_random compose standard_transforms DEFAULT_TRANSFORMATIONS apply_transformations
        normalize preprocess_inceptionv1 constant_value uniform REFLECT render_icons
    """,
    "loop": """
        render_vis make_vis_T import_model objective_f optimizer transforms thresholds print_objectives verbose
        relu_gradient_override use_fixed_seed redirected_relu_grad redirected_relu6_grad avg_smoothed_maxpool_grad
        identity_grad preprocess progress show_image save_image image_name show_inline fixed_image_size RedirectedReLU
        redirected_ReLU set_seed FeatureViz visualize lr freq use_decorrelated image_shape plot_images show_last_image
        show_progress log_loss extra_transformations apply_default_transformations log_level wandb_logger
        remove_existing_hooks normalize_gradients clamp_param_value ImagePlotter create_wandb_logger
    """,
    "attribution": """
        LayerGradientXActivation LayerIntegratedGradients IntegratedGradients LayerFeatureAblation FeatureAblation
        Occlusion infidelity MuFidelity AttrChannel AttrSpatial GradCAM LayerGradCam Saliency SmoothGrad NoiseTunnel
        MaxPool2dRelaxed avg_smoothed_maxpool_grad pooling_overrides class_attr
    """,
    "networks and files": """
        InceptionV1 model.layers get_model_layers get_model_tree print_model_tree get_activations hook_model
        ModuleHook load_model show images show_images show_image save save_images load load_images load_image load_gif
        animate_sequence numpy_image_to_gif numpy_image_to_video array_to_jsbuffer graph activation_atlas
        aligned_activation_atlas ActivationGrid
    """,
    "reading": """
        ChannelReducer NeuronGroups neuron_groups posneg LayerNMF Craft estimate_importance
    """,
    "MACO and accentuation": """
        maco maco_dataset init_maco_buffer box_size nb_crops crops_per_iteration noise_intensity values_range
        Objective.layer Objective.neuron channel_ids optimize fourier accentuation image_seed dot_cossim plot_maco
        transparency init_img accent_reg_layer accent_reg_alpha pgd_alpha img_to_params forward_init_img l1_compare
        l2_compare dot_cossim_compare cosim spatial_channel fourrier_phase fourrier pixel nb_transforms box_crop
        box_crop_2 uniform_gaussian_noise standard_box_transforms standard_jitter_transforms img_tr_obj
        activation_cutoff render_vis_zoomsmooth
    """,
    "hooked transformers": """
        load_hooked_model HookedViT run_with_cache run_with_hooks add_hook zero_ablate_hook hook_resid_post hook_mlp_out
        hook_attn_out hook_post get_substitution_loss get_patch_logit_directions
    """,
    "circuits": "extract_expanded_weights weights_to_heatmap_2d max2avg_pool2d MaxPool2dRelaxed",
}


class Row(NamedTuple):
    """A line of a table, and the section it is in."""

    section: str
    cells: tuple[str, ...]

    @property
    def there(self) -> str:
        return self.cells[0]

    @property
    def here(self) -> str:
        return self.cells[2] if len(self.cells) > 2 else ""


def rows() -> list[Row]:
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        lines = re.findall(r"^\|(.*?)\|?$", section, re.MULTILINE)
        cells = [tuple(cell.strip() for cell in line.split("|")) for line in lines]
        found += [Row(title, own) for own in cells if own[0] != "there" and set(own[0]) != {"-"}]
    return [row for row in found if row.section != INTRODUCTION]


ROWS = rows()


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def is_code(text: str) -> bool:
    """Whether what is quoted in a sentence is meant to be run: an expression of ours, or a command."""
    return "lj." in text or text.startswith("lightjax ")


CELLS = [(row.here, row.section == LEFT_OUT) for row in ROWS]
QUOTED = dict.fromkeys(text for cell, prose in CELLS for text in quoted(cell) if is_code(text) or not prose)
COMMANDS = [text for text in QUOTED if text.startswith("lightjax ")]
RENDERS = [text for text in QUOTED if text.startswith(("lj.visualize(", "lj.visualize_many("))]
EXPRESSIONS = [text for text in QUOTED if text not in COMMANDS and text not in RENDERS]


class Network:
    """A network that is nothing but a few products of sparse pixels, with the layers that the page names."""

    class_names = ("tench", "goldfish", "great white shark", "tiger shark", "golden retriever")

    def __call__(self, images, *, relu=jax.nn.relu):
        kernel = np.random.default_rng(0).standard_normal((3, 508)).astype(np.float32)
        before = images[:, ::16, ::16] @ kernel
        after = relu(before)
        logits = after.mean((1, 2))
        layers = dict.fromkeys(("mixed4a", "mixed4b", "mixed4d", "mixed5a", "conv2d2"), after)
        heads = {"softmax2_pre_activation_matmul": logits, "softmax2": jax.nn.softmax(logits)}
        return {**layers, "mixed4a_pre_relu": before, "mixed4a_1x1_pre_relu_conv": before, **heads}


class Run:
    """A run of Weights & Biases."""

    def __init__(self):
        self.logged = []

    def log(self, values):
        self.logged.append(values)


def leave(key, images):
    """A transform that leaves images alone."""
    return images


def brief(visualize):
    """The same with one step, of a small network, on small pictures; transforms have a test of their own."""

    def visualize_briefly(objective, *, steps=2048, snapshots=(), image=None, start=None, views=1, **settings):
        assert settings.get("transform") is None or callable(settings["transform"])
        image = lj.image(settings.pop("size", 224)) if image is None else image
        blend = lj.transforms.CollapseAlpha()
        short = {
            "steps": min(steps, 1),
            "snapshots": [min(s, 1) for s in snapshots],
            "image": image if start is not None else dataclasses.replace(image, height=SMALL, width=SMALL),
            "transform": blend if image.alpha else leave if views > 1 else None,
        }
        settings = {"model": NETWORK, "progress": False, "start": start, "views": views} | settings
        return visualize(objective, **(settings | short))

    return visualize_briefly


def known(name="bvlc_googlenet"):
    """`load_model` without a download: any name that there is, but always the network that comes with lightjax."""
    assert name in {**weights.CHECKPOINTS, **weights.EMBEDDED}
    return LOAD("bvlc_googlenet")


def live(*args, **kwargs):
    """`live` without a notebook."""
    inspect.signature(LIVE).bind(*args, **kwargs)
    return lambda result: None


LOAD, LIVE = lj.load_model, lj.live
NETWORK, SMALL = Network(), 33


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the expressions may use, in a folder with a picture."""
    stand_ins = {
        "visualize": brief(lj.visualize),
        "visualize_many": brief(lj.visualize_many),
        "load_model": known,
        "live": live,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("names"))
        for name, stand_in in stand_ins.items():
            patch.setattr(lj, name, stand_in)
        random, model = np.random.default_rng(0), NETWORK
        picture = random.uniform(size=(SMALL, SMALL, 3)).astype(np.float32)
        matrix = random.standard_normal((508, 20))
        dictionary = lj.Dictionary("mixed4a", matrix, np.zeros(20), matrix.T, np.zeros(508), k=3)
        dictionary.save("dictionary.safetensors")
        lj.pictures.save("picture.png", picture)
        yield {
            "jax": jax,
            "jnp": jnp,
            "np": np,
            "optax": optax,
            "lj": lj,
            "model": model,
            "net": model,
            "vector": random.standard_normal(508),
            "pattern": random.standard_normal((14, 14)),
            "picture": picture,
            "target": random.uniform(size=(1, 14, 14, 508)),
            "mask": np.ones((SMALL, SMALL, 1)),
            "image": lj.image(224),
            "key": jax.random.key(0),
            "result": lj.visualize("mixed4a:97", image=lj.image(224, batch=2), snapshots=(1,)),
            "other": lj.layer("mixed4a"),
            "run": Run(),
            "dictionary": dictionary,
        }


@contextlib.contextmanager
def row(text):
    """Say in every error which expression of the page it comes from."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in docs/names.md: {text}")
        raise


def run(text, names):
    return eval(compile(text, "docs/names.md", "eval"), dict(names))


@pytest.fixture(scope="module")
def made(names):
    """What each expression gives, except for renders."""
    found = {}
    for text in EXPRESSIONS:
        with row(text):
            found[text] = run(text, names)
    return found


def is_transform(made) -> bool:
    return type(made).__module__.startswith("lightjax.transforms.")


def test_every_objective_has_a_finite_value(made, names):
    """For two pictures with opacity, and what the network makes of them; all in one program."""
    random = np.random.default_rng(1)
    seen = random.uniform(size=(2, 224, 224, 3)).astype(np.float32)
    activations = dict(names["model"](seen))
    activations["input"] = jnp.asarray(random.uniform(size=(2, SMALL, SMALL, 4)), jnp.float32)
    shapes = jax.eval_shape(lambda: activations)
    goals = {}
    for text, goal in made.items():
        if isinstance(goal, lj.Objective):
            with row(text):
                goals[text] = lj.objectives.resolve(goal, names["model"])
                lj.objectives.check(goals[text], shapes)

    @jax.jit
    def values(goals, activations):
        found = {}
        for text, goal in goals.items():
            with row(text):
                found[text] = goal(activations)
        return found

    found = values(goals, activations)
    assert len(found) > 60
    for text, value in found.items():
        with row(text):
            assert value.shape == ()
            assert np.isfinite(value)


def test_every_image_decodes_to_pictures(made):
    small = {
        text: dataclasses.replace(image, height=18, width=21)
        for text, image in made.items()
        if isinstance(image, lj.images.NaturalImage)
    }

    @jax.jit
    def pictures(key):
        found = {}
        for text, image in small.items():
            with row(text):
                found[text] = image.decode(image.init(key))
        return found

    found = pictures(jax.random.key(0))
    assert len(found) > 20
    for text, decoded in found.items():
        with row(text):
            assert decoded.shape == (made[text].batch, 18, 21, 4 if made[text].alpha else 3)
            assert ((decoded >= 0) & (decoded <= 1)).all()


def test_every_transform_gives_pictures(made):
    @jax.jit
    def views(key):
        found = {}
        for text, transform in made.items():
            if is_transform(transform):
                with row(text):
                    channels = 4 if "CollapseAlpha" in repr(transform) else 3
                    found[text] = transform(key, jnp.full((2, 60, 52, channels), 0.5))
        return found

    found = views(jax.random.key(0))
    assert len(found) > 20
    for text, seen in found.items():
        with row(text):
            assert seen.ndim == 4
            assert np.isfinite(seen).all()


def test_every_other_expression_does_what_its_kind_does(made, names):
    for text, one in made.items():
        if not (isinstance(one, lj.Objective | lj.images.NaturalImage) or is_transform(one)):
            with row(text):
                check_kind(one, names)


def check_kind(made, names):
    if isinstance(made, lj.Result):
        assert np.isfinite(made.images).all()
        assert made._repr_png_().startswith(b"\x89PNG")
    elif isinstance(made, lj.analysis.Reading):
        assert made._repr_png_().startswith(b"\x89PNG")
        assert np.isfinite(made.picture()).all()
    elif hasattr(made, "_repr_html_"):  # several pictures in a row
        assert "<img" in made._repr_html_()
    elif isinstance(made, optax.GradientTransformation):
        updates, _ = made.update(jnp.ones(3), made.init(jnp.zeros(3)), jnp.zeros(3))
        assert np.isfinite(updates).all()
    elif inspect.isfunction(made) and [*inspect.signature(made).parameters] == ["images"]:  # a model
        assert np.isfinite(made(names["picture"][None])["mixed4a"]).all()
    elif isinstance(made, lj.Dictionary):
        assert made.kind == "topk"
    elif callable(made):
        assert type(made) in (lj.networks.InceptionV1, lj.analysis.Rest) or made in (
            lj.optimize.advance,
            lj.visualize_many,
            *lj.ops.POOLS.values(),
        )
    elif isinstance(made, lj.analysis.Agreement):
        assert np.isfinite(made).all()
    elif isinstance(made, list | dict) or hasattr(made, "_fields"):  # several arrays, or their shapes, or files
        leaves = jax.tree.leaves(made)
        assert leaves
        assert all(hasattr(leaf, "shape") or isinstance(leaf, Path) for leaf in leaves)
    elif isinstance(made, np.ndarray | jax.Array):
        assert np.isfinite(made).all()
    else:  # a text, an answer, or nothing: what `save` returns
        assert isinstance(made, str | bytes | bool | float | tuple | Path) or made is None


@pytest.mark.filterwarnings("ignore:the picture of")  # that no step changes, with few steps of a tiny network
@pytest.mark.parametrize("text", RENDERS)
def test_every_render_gives_pictures(text, names):
    with row(text):
        made = run(text, names)
        results = [made] if isinstance(made, lj.Result) else made.in_order()
        assert results
        assert all(np.isfinite(result.images).all() for result in results)


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_has_its_options(text):
    _, name, *words = shlex.split(text)
    command = typer.main.get_command(cli.app).commands[name]
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word, value in zip(words, [*words[1:], ""], strict=True):
        assert not word.startswith("-") or word in options
        assert word != "--model" or value in ARCHITECTURES


def test_every_row_has_an_expression_or_is_left_out_with_a_reason():
    assert len(ROWS) > 150
    assert {row.section for row in ROWS} >= {"Objectives", "Images", "Transforms", "The loop", "Networks", LEFT_OUT}
    for row in ROWS:
        left_out = row.section == LEFT_OUT
        assert len(row.cells) == (3 if left_out else 4), row
        assert all(row.cells[:3]), row
        assert left_out or re.fullmatch(r"`[^`]+`(, `[^`]+`)*", row.here), row


def words(text: str) -> set[str]:
    """Names in what is quoted, whole and in parts: "model.layers" is also "model" and "layers"."""
    dotted = {word for code in quoted(text) if "lj." not in code for word in re.findall(r"\w[\w.]*", code)}
    return dotted | {part for word in dotted for part in word.split(".")}


@pytest.mark.parametrize("area", NAMES)
def test_every_name_of_the_other_systems_is_there(area):
    prose = re.sub(r"^\|.*$", "", PAGE, flags=re.MULTILINE)
    mentioned = words(prose).union(*(words(row.there) for row in ROWS))
    assert [name for name in NAMES[area].split() if name not in mentioned] == []


def test_the_page_introduces_the_names_that_its_expressions_use(names):
    section = PAGE.partition(f"## {INTRODUCTION}")[2].partition("\n## ")[0]
    introduced = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert {*introduced, "jax", "jnp", "np", "optax", "lj"} == {*names}
