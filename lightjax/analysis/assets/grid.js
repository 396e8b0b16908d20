// A grid of cells: pointing at one, tapping it or moving the focus to it shows what is known of it.
//
// Whatever comes from the data is set as text or as a property, never as markup.

for (const root of document.querySelectorAll(".positions")) {
  const find = (selector) => root.querySelector(selector);
  const { rows, columns, channels, classes, strengths, sprites, start } = JSON.parse(find("script").textContent);
  const cells = [...root.querySelectorAll(".cell")];
  const short = (number) => String(Number(number.toPrecision(3)));

  function item([name, value, sprite], largest) {
    const made = document.createElement("li");
    const part = (tag, className, text) => Object.assign(document.createElement(tag), { className, textContent: text });
    const label = part("span", "name", "");
    if (sprite !== undefined) {
      const picture = part("span", "sprite", "");
      const [high, wide] = sprites;
      const place = { rows: high, columns: wide, row: Math.floor(sprite / wide), column: sprite % wide };
      for (const [key, number] of Object.entries(place)) picture.style.setProperty(`--${key}`, number);
      label.append(picture);
    }
    label.append(Object.assign(part("b", "", name), { title: name }));
    const bar = part("span", "bar", "");
    bar.style.setProperty("--part", Math.abs(value) / largest || 0);
    made.className = value < 0 ? "negative" : "";
    made.append(label, bar, part("span", "value", short(value)));
    return made;
  }

  function list(selector, entries, every) {
    const largest = Math.max(...every.flat().map(([, value]) => Math.abs(value)));
    find(selector)?.replaceChildren(...entries.map((entry) => item(entry, largest)));
  }

  function show(number) {
    const [row, column] = [Math.floor(number / columns), number % columns];
    cells.forEach((cell, i) => {
      cell.tabIndex = i === number ? 0 : -1;
      if (i === number) cell.setAttribute("aria-current", "true");
      else cell.removeAttribute("aria-current");
    });
    for (const place of [find(".large"), find(".photograph")]) {
      place.style.setProperty("--row", row);
      place.style.setProperty("--column", column);
    }
    find(".large").classList.toggle("blank", strengths[number] === 0);
    find(".large figcaption").textContent = `row ${row}, column ${column}; length ${short(strengths[number])}`;
    list(".channels", channels[number], channels);
    list(".classes", classes[number] ?? [], classes);
  }

  const number = ({ target }) => cells.indexOf(target.closest(".cell"));
  const shown = (event) => number(event) >= 0 && show(number(event));
  const grid = find(".cells");
  grid.addEventListener("pointerover", shown);
  grid.addEventListener("focusin", shown);
  grid.addEventListener("click", shown);
  grid.addEventListener("keydown", (event) => {
    const at = number(event);
    const [row, column] = [Math.floor(at / columns), at % columns];
    const moves = {
      ArrowLeft: column > 0 && at - 1,
      ArrowRight: column < columns - 1 && at + 1,
      ArrowUp: row > 0 && at - columns,
      ArrowDown: row < rows - 1 && at + columns,
      Home: row * columns,
      End: (row + 1) * columns - 1,
    };
    if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (moves[event.key] !== false) cells[moves[event.key]].focus();
  });
  show(start);
}
