"""Names of classes: how they become indices, and the table of ImageNet's."""

import numpy as np
import pytest

from lightjax import labels
from lightjax.objectives import channel, check, class_logit, l1, objective, resolve
from tests.objectives.cases import LOGITS, SINGLE, STRUCTURE


class Labeled:
    """A model that names its classes."""

    class_names = ("", "tabby, tabby cat", "crane, bird", "golden retriever", "crane, hoist")


def test_a_class_is_found_by_any_of_its_names_in_any_case():
    for name in ("tabby", "Tabby Cat", " tabby_cat", "tabby, tabby cat"):
        found = resolve(2 * class_logit(name, layer="logits") - l1(), Labeled())
        assert str(found) == "2 * class_logit(1, layer='logits') - l1()"
    assert str(resolve(class_logit("crane, hoist"), Labeled())) == "class_logit(4)"
    assert str(resolve(class_logit("tabby")[1] - l1(), Labeled())) == "class_logit(1)[1] - l1()"
    untouched = channel("conv", 1) - class_logit([3, 1])
    assert str(resolve(untouched, Labeled())) == str(untouched)
    assert str(resolve(untouched, object())) == str(untouched)
    inside = resolve(objective(lambda a, term: term(a), class_logit("golden retriever", layer="logits")), Labeled())
    np.testing.assert_allclose(inside(SINGLE), LOGITS[:, 3].mean(), rtol=1e-5)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("crane", "several classes are called 'crane'; give an index: 2 (crane, bird) or 4 (crane, hoist)"),
        ("golden retreiver", "no class is called 'golden retreiver'; did you mean 'golden retriever'?"),
        ("retriever", "did you mean 'golden retriever'?"),
        ("xyzzy", "no class is called 'xyzzy'; see the model's class_names"),
        (0, "logit 0 of this model stands for no class"),
        ([3, 0], "logit 0 of this model stands for no class"),
    ],
)
def test_a_class_that_cannot_be_told_is_refused(label, words):
    with pytest.raises(ValueError, match=r"class") as error:
        resolve(1 - class_logit(label), Labeled())
    assert words in str(error.value)


def test_names_need_a_model_that_has_them():
    with pytest.raises(ValueError, match="this model does not name its classes, so 'tabby' cannot be looked up"):
        resolve(class_logit("tabby"), object())
    with pytest.raises(ValueError, match=r"the index of class 'tabby' is not known yet: objectives\.resolve"):
        check(class_logit("tabby", layer="dense"), STRUCTURE)


def test_the_table_of_classes_is_that_of_the_published_networks(shared):
    synsets = [line.split(" ", 1) for line in (shared / "weights" / "synset_words.txt").read_text().splitlines()]
    bvlc, inception5h = labels.imagenet("bvlc_googlenet"), labels.imagenet("inception5h")
    assert bvlc == tuple(names for _, names in synsets)
    assert inception5h == labels.imagenet("inception5h_torchlight")
    assert len(inception5h) == 1008
    assert [i for i, names in enumerate(inception5h) if not names] == [0, *range(1001, 1008)]
    rows = [line.split("\t") for line in (shared / "weights" / "inception5h_classes.tsv").read_text().splitlines()]
    of_synset = dict(synsets)
    for index, synset, name in rows[1:]:
        assert inception5h[int(index)] == of_synset[synset]
        assert name in inception5h[int(index)].split(", ")
    assert labels.imagenet("own") == ()


def test_every_class_of_imagenet_but_the_cranes_is_found_by_all_its_names_together():
    names = labels.imagenet("bvlc_googlenet")
    assert len({name.casefold() for name in names}) == 999
    for index in range(3, 1000, 20):
        assert labels.class_index(names[index].upper(), names) == index
    assert names[labels.class_index("harp", names)] == "harp"  # and not the harmonica, which is also a mouth harp
    with pytest.raises(ValueError, match=r"several classes are called 'crane'.* 134 \(crane\) or 517 \(crane\)"):
        labels.class_index("crane", names)  # a bird and a machine
