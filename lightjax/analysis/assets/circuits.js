// Circuits: a unit with the kernels by which it reads and feeds others. The address names the unit, and links lead on.
//
// Whatever comes from the data is set as text or as a property, never as markup.

for (const root of document.querySelectorAll(".circuits")) {
  const find = (selector) => root.querySelector(selector);
  const { layers, pairs, lists, sprites, sheet, colors, start } = JSON.parse(find("script").textContent);
  const names = Object.entries(layers).flatMap(([layer, numbers]) => numbers.map((number) => `${layer}:${number}`));
  const title = document.title;
  const link = (name) => `#${encodeURIComponent(name).replaceAll("%3A", ":")}`;
  const made = (tag, className = "", text = "") =>
    Object.assign(document.createElement(tag), { className, textContent: text });
  let shown = "";

  function sprite(name, place) {
    const known = Object.hasOwn(sprites, name);
    place.className = known ? "sprite known" : "sprite";
    const at = { rows: sheet[0], columns: sheet[1], row: Math.floor(sprites[name] / sheet[1]), column: sprites[name] % sheet[1] };
    if (known) for (const [key, number] of Object.entries(at)) place.style.setProperty(`--${key}`, number);
    return known;
  }

  function drawn(entries, [height, width]) { // signed bytes as colors
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(width, height);
    entries.forEach((entry, i) => {
      const at = (entry / 127 + 1) * (colors.length - 1) / 2;
      const low = Math.min(Math.floor(at), colors.length - 2);
      const mixed = colors[low].map((color, c) => 255 * (color + (at - low) * (colors[low + 1][c] - color)));
      image.data.set([...mixed.map(Math.round), 255], 4 * i);
    });
    pen.putImageData(image, 0, 0);
    return canvas;
  }

  function card(layer, [number, length], kernel) {
    const name = `${layer}:${number}`;
    const item = Object.assign(made("a"), { href: link(name), title: name });
    item.setAttribute("aria-label", `${name}, ${length}`);
    const picture = made("span");
    if (sprite(name, picture)) item.append(picture);
    const label = made("span");
    label.append(made("b", "", number), made("i", "", Number(length.toPrecision(3))));
    item.append(kernel, label);
    return item;
  }

  function list({ pair, reads, excites, inhibits, share, kernels }) {
    const { source, target, sides, of } = pairs[pair];
    const layer = reads ? source : target;
    const every = of[reads ? 1 : 0];
    const bytes = new Int8Array(Uint8Array.from(atob(kernels), (letter) => letter.charCodeAt(0)).buffer);
    const size = sides[0] * sides[1];
    const count = excites.length + inhibits.length;
    const heading = made("h3", "", `${reads ? "Reads" : "Feeds"} ${layer} `);
    const percent = `${Math.round(100 * share)} % of the squares of its weights`;
    heading.append(made("span", "", count ? `${count} of ${every} channels, ${percent}` : "nothing"));
    const part = made("section");
    part.append(heading);
    const words = reads ? ["It is excited by", "It is inhibited by"] : ["It excites", "It inhibits"];
    [excites, inhibits].forEach((entries, i) => {
      if (!entries.length) return;
      const row = made("div", "row");
      const first = i ? excites.length : 0;
      row.append(...entries.map((entry, j) =>
        card(layer, entry, drawn(bytes.subarray((first + j) * size, (first + j + 1) * size), sides))));
      part.append(made("h4", "", words[i]), row);
    });
    return part;
  }

  function show(name) {
    shown = name;
    document.title = `${name} · ${title}`;
    find("h2").textContent = name;
    find(".own .sprite").hidden = !sprite(name, find(".own .sprite"));
    find(".lists").replaceChildren(...lists[name].map(list));
    const at = names.indexOf(name);
    find(".previous").href = link(names.at(at - 1));
    find(".next").href = link(names[(at + 1) % names.length]);
    for (const tile of root.querySelectorAll(".tiles a")) {
      if (tile.title === name) tile.setAttribute("aria-current", "true");
      else tile.removeAttribute("aria-current");
    }
  }

  function go() { // to the unit of the address
    let wanted = location.hash.slice(1);
    try { wanted = decodeURIComponent(wanted); } catch { /* it is no address of ours */ }
    const known = Object.hasOwn(lists, wanted);
    find("output").textContent = wanted && !known ? `There is no ${wanted} here` : "";
    show(known ? wanted : start);
    if (known) scrollTo(0, 0);
  }

  function search({ key, target }) {
    if (key !== "Enter") return;
    const text = target.value.trim();
    const name = /^\d+$/.test(text) ? `${shown.slice(0, shown.lastIndexOf(":"))}:${text}` : text;
    target.value = "";
    location.hash = link(name);
  }

  for (const [layer, numbers] of Object.entries(layers)) {
    const part = made("section");
    const tiles = made("div", "tiles");
    part.setAttribute("aria-label", `Units of ${layer}`);
    for (const number of numbers) {
      const name = `${layer}:${number}`;
      const tile = Object.assign(made("a"), { href: link(name), title: name });
      const picture = made("span");
      if (sprite(name, picture)) tile.setAttribute("aria-label", name);
      else picture.textContent = number;
      tile.append(picture);
      tiles.append(tile);
    }
    part.append(made("h3", "", layer), tiles);
    find(".all").append(part);
  }
  find("input").addEventListener("keydown", search);
  addEventListener("hashchange", go);
  go();
}
