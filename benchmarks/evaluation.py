"""The evaluation of folders of renders: `python -m benchmarks.evaluation FOLDER... --eye FILE --photographs FOLDER`."""

import argparse

import lightjax as lj


def main() -> None:
    """Print a table for each folder, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="folders of PNG files that lightjax saved")
    parser.add_argument("--eye", help="a weights file of another network, or its name")
    parser.add_argument("--photographs", help="a folder of photographs in folders of classes")
    parser.add_argument("--layers", nargs="*", default=[], help="layers for the path likeness")
    options = parser.parse_args()
    for folder in options.folders:
        table = lj.evaluate(folder, eye=options.eye, photographs=options.photographs, layers=options.layers)
        print(f"{folder}, seen by {table.eye}\n\n{table.markdown()}\n")


if __name__ == "__main__":
    main()
