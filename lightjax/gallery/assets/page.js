// The gallery's page: search, keys, and the view of one channel.
//
// The address is the state: `#mixed4a` is a layer and `#mixed4a/97` a channel. Whatever comes from the data is set as
// text or as an attribute, never as markup.

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

const sections = all("main > section");
let tiles = all(".tile");
const search = find("input");
const view = find(".view");
const about = find(".about");
const title = document.title;
let shown = tiles; // those that match the search
let current = null; // the tile that Tab leads to
let viewed = null; // the tile whose channel is or was in the view
let returning = false; // whether the address is about to change because the view was left

/** A new element with attributes and children; strings become text. */
function element(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const short = (number) => (Number.isFinite(number) ? String(Number(number.toPrecision(4))) : "");
const counted = (number) => `${number.toLocaleString("en")} channel${number === 1 ? "" : "s"}`;
const layerOf = (tile) => tile.closest("section").dataset;
const encoded = (file) => file.split("/").map(encodeURIComponent).join("/");

// Places by their address, as written in links and as a person would type it.

const places = new Map();
for (const section of sections) places.set(section.dataset.link, section);
for (const tile of tiles) places.set(tile.getAttribute("href"), tile);
for (const [link, place] of [...places]) if (!places.has(decoded(link))) places.set(decoded(link), place);

function decoded(link) {
  try {
    return decodeURIComponent(link);
  } catch {
    return link;
  }
}

// From the address to what is on the screen.

function route() {
  const place = places.get(location.hash) ?? places.get(decoded(location.hash));
  if (place?.matches(".tile")) return open(place);
  if (returning) {
    returning = false;
  } else if (view.open) {
    view.close();
  } else if (place) {
    if (place.hidden) clear();
    place.scrollIntoView();
  } else if (location.hash) {
    say(`There is no ${decoded(location.hash.slice(1))} here`);
  }
}

function open(tile) {
  if (tile.hidden) clear();
  viewed = tile;
  fill(tile);
  if (!view.open) {
    view.showModal();
    find("#view-title").focus(); // that it is read out
  }
  view.scrollTop = 0;
}

/** After the view: back to where it was opened, or, if a link led here, on to the layer. */
function left() {
  document.title = title;
  viewed.focus();
  if (!places.get(location.hash)?.matches(".tile")) return; // the address has moved on by itself
  returning = history.state === "opened here";
  if (returning) history.back();
  else history.replaceState(null, "", layerOf(viewed).link);
}

function step(by) {
  const number = (shown.indexOf(viewed) + by + shown.length) % shown.length;
  history.replaceState(history.state, "", shown[number].getAttribute("href"));
  route();
}

find("main").addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState("opened here", "", tile.getAttribute("href"));
  route();
});
view.addEventListener("close", left);
find(".close").addEventListener("click", () => view.close());
find(".previous").addEventListener("click", () => step(-1));
find(".next").addEventListener("click", () => step(1));
addEventListener("hashchange", route);
find("nav").addEventListener("click", ({ target }) => {
  if (target.closest("a")?.hash === location.hash) route(); // the address does not change, but one may have scrolled away
});

// The view of one channel.

function details(tile) {
  const section = tile.closest("section");
  section.details ??= JSON.parse(find("script", section).textContent);
  return section.details[tile.dataset.channel];
}

function fill(tile) {
  const { layer, link } = layerOf(tile);
  const { channel, label } = tile.dataset;
  const { pictures, command, examples = [], figures: measured = {} } = details(tile);
  document.title = `${layer} ${channel} · ${title}`;
  Object.assign(find(".layer", view), { textContent: layer, href: link });
  find(".channel", view).textContent = channel;
  find(".label", view).textContent = label;

  const name = `${layer}, channel ${channel}`;
  const large = pictures.filter(({ kind }) => kind !== "diverse");
  const diverse = pictures.filter(({ kind }) => kind === "diverse");
  const figures = (list) =>
    list.map(({ kind, file, values }, i) =>
      figure(file, `${name}, ${kind}${kind === "diverse" ? ` ${i + 1}` : ""}`, kind, values.at(-1)),
    );
  find(".large").replaceChildren(...figures(large));
  row(".diverse", figures(diverse));
  row(".examples", examples.map(({ file, value, source = "" }, i) =>
    figure(file, `${name}, example ${i + 1}${source && `: ${source}`}`, source, value)));
  for (const section of all(".figures", view)) section.hidden = !Object.keys(measured).length;
  for (const fact of all(".figures [data-name]", view)) {
    fact.hidden = !(fact.dataset.name in measured);
    find("b", fact).textContent = short(measured[fact.dataset.name]);
  }
  draw(pictures);
  find(".command").textContent = command;
  find(".copied").textContent = "";
}

function figure(file, description, caption, value) {
  const source = encoded(file);
  const number = value == null ? [] : [" ", element("b", {}, short(value))];
  return element(
    "figure",
    {},
    element("a", { href: source, "aria-label": `${description}, the file` }, element("img", { src: source, alt: description })),
    element("figcaption", {}, caption, ...number),
  );
}

function row(selector, figures) {
  find(selector, view).hidden = !figures.length;
  find(`${selector} .row`, view).replaceChildren(...figures);
}

/** The course of the objective: one line for each different course. */
function draw(pictures) {
  const courses = new Map();
  for (const { kind, values } of pictures) if (values.length > 1) courses.set(`${kind} ${values}`, { kind, values });
  const course = find(".course");
  course.hidden = !courses.size;
  if (!courses.size) return;

  const [width, height, left, top, bottom] = [352, 170, 50, 8, 22];
  const finite = [...courses.values()].flatMap(({ values }) => values).filter(Number.isFinite);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const y = (value) => top + (height - top - bottom) * (1 - (high > low ? (value - low) / (high - low) : 0.5));
  const line = (values) => {
    const point = (value, i) => `${(left + ((width - left) * i) / (values.length - 1)).toFixed(1)} ${y(value).toFixed(1)}`;
    return values.map((value, i) =>
      value === null ? "" : (i && values[i - 1] !== null ? "L" : "M") + point(value, i)).join("");
  };
  const ends = [...courses.values()].map(({ kind, values }) => `${kind} from ${short(values[0])} to ${short(values.at(-1))}`);
  const floor = height - bottom;
  course.querySelector("figure").replaceChildren(
    element(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `Course of the objective: ${ends.join("; ")}` },
      element("line", { class: "axis", x1: left, x2: width, y1: floor, y2: floor }),
      element("line", { class: "axis", x1: left, x2: width, y1: top, y2: top }),
      element("text", { x: left - 6, y: top + 4, "text-anchor": "end" }, short(Number(high.toPrecision(3)))),
      element("text", { x: left - 6, y: floor + 4, "text-anchor": "end" }, short(Number(low.toPrecision(3)))),
      element("text", { x: left, y: height - 5 }, "0"),
      element("text", { x: width, y: height - 5, "text-anchor": "end" }, course.dataset.steps && `${course.dataset.steps} steps`),
      ...[...courses.values()].map(({ kind, values }) => element("path", { class: kind, d: line(values) })),
    ),
    element("figcaption", {}, ...[...new Set([...courses.values()].map(({ kind }) => kind))].map((kind) =>
      element("span", { class: kind }, kind))),
  );
}

find(".copy").addEventListener("click", async () => {
  const command = find(".command");
  try {
    await navigator.clipboard.writeText(command.textContent);
    find(".copied").textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(command);
    find(".copied").textContent = "Selected: now copy it";
  }
});

// Order: by channel, or by a figure of the evaluation, which the tiles then show. What has none comes last.

const order = find(".order"); // only in galleries that were evaluated
order?.addEventListener("change", () => {
  const { name } = order.selectedOptions[0].dataset;
  const figure = (tile) => details(tile).figures?.[name] ?? null;
  const key = (tile) => (name ? (figure(tile) === null ? Infinity : order.value * figure(tile)) : 0);
  for (const section of sections) {
    const sorted = all(".tile", section).sort((a, b) => key(a) - key(b) || a.dataset.channel - b.dataset.channel);
    for (const tile of sorted) {
      const { channel, label } = tile.dataset;
      const number = name && figure(tile) !== null ? `${name} ${short(figure(tile))}` : "";
      find("span", tile).textContent = [channel, label, number].filter(Boolean).join(" ");
    }
    find(".grid", section).append(...sorted);
  }
  tiles = all(".tile");
  filter();
});

// Search: words must be part of the layer's name or the label, numbers and ranges must hold the channel.

function test(word) {
  const range = /^(\d+)(?:-(\d+))?$/.exec(word);
  if (!range) return (layer, tile) => layer.includes(word) || tile.dataset.label.toLowerCase().includes(word);
  const [from, to] = [Number(range[1]), Number(range[2] ?? range[1])];
  return (_, tile) => from <= tile.dataset.channel && tile.dataset.channel <= to;
}

function filter() {
  const words = search.value.toLowerCase().split(/[\s/:,#]+/).filter(Boolean);
  const tests = words.map(test);
  shown = [];
  for (const section of sections) {
    const layer = section.dataset.layer.toLowerCase();
    let any = false;
    for (const tile of all(".tile", section)) {
      tile.hidden = !tests.every((passes) => passes(layer, tile));
      if (!tile.hidden) shown.push(tile);
      any ||= !tile.hidden;
    }
    section.hidden = !any;
  }
  find(".nothing").hidden = shown.length > 0;
  say(words.length ? `${shown.length.toLocaleString("en")} of ${counted(tiles.length)}` : counted(tiles.length));
  if (shown.length && current.hidden) select(shown[0]);
  reserve();
  if (words.length) scrollTo(0, 0);
}

function clear() {
  search.value = "";
  filter();
}

function say(text) {
  find(".status").textContent = text;
}

search.addEventListener("input", filter);

// Keys. One tile of the grid takes part in Tab; arrows move on from it.

function select(tile) {
  if (current) current.tabIndex = -1;
  current = tile;
  current.tabIndex = 0;
}

/** The tile above or below: in the next row that way, the one nearest in its column. */
function vertical(tile, by) {
  const here = tile.getBoundingClientRect();
  let best = null;
  let nearest = Infinity;
  let row = null;
  for (let i = shown.indexOf(tile) + by; shown[i]; i += by) {
    const there = shown[i].getBoundingClientRect();
    if (there.top === here.top) continue;
    row ??= there.top;
    if (there.top !== row) break;
    if (Math.abs(there.left - here.left) < nearest) [best, nearest] = [shown[i], Math.abs(there.left - here.left)];
  }
  return best;
}

function move(tile, key) {
  const i = shown.indexOf(tile);
  if (key === "ArrowLeft") return shown[i - 1];
  if (key === "ArrowRight") return shown[i + 1];
  if (key === "ArrowUp") return vertical(tile, -1);
  if (key === "ArrowDown") return vertical(tile, 1);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || about.open) return;
  const { key, target } = event;
  if (view.open) {
    if (key === "ArrowLeft") step(-1);
    else if (key === "ArrowRight") step(1);
    else return;
  } else if (target === search) {
    if (key === "Escape") clear();
    else if ((key === "Enter" || key === "ArrowDown") && shown.length) shown[0].focus();
    else return;
  } else if (key === "/") {
    search.focus();
    search.select();
  } else if (key === "?") {
    about.showModal();
  } else if (target.matches(".tile") && key.startsWith("Arrow")) {
    move(target, key)?.focus();
  } else {
    return;
  }
  event.preventDefault();
});
find("main").addEventListener("focusin", ({ target }) => target.matches(".tile") && select(target));
find(".about-button").addEventListener("click", () => about.showModal());
about.addEventListener("click", ({ target }) => target === about && about.close());

// A finger that wipes across the view turns the page.

let touch = null;
view.addEventListener("touchstart", ({ touches }) => {
  touch = touches.length === 1 && visualViewport.scale === 1 ? touches[0] : null;
}, { passive: true });
view.addEventListener("touchend", ({ changedTouches: [end] }) => {
  const [x, y] = touch ? [end.clientX - touch.clientX, end.clientY - touch.clientY] : [0, 0];
  if (Math.abs(x) > 60 && Math.abs(x) > 3 * Math.abs(y)) step(x < 0 ? 1 : -1);
});

// Which layer one is in.

const links = new Map(all("nav a").map((link) => [link.getAttribute("href"), link]));
const observer = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const link = links.get(target.dataset.link);
    if (isIntersecting) link.setAttribute("aria-current", "location");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "-15% 0px -84% 0px" });
for (const section of sections) observer.observe(section);

// Layers off the screen are not laid out (`content-visibility`), which keeps thousands of pictures smooth. So that nothing
// jumps, each says how high it would be.

function reserve() {
  const section = sections.find(({ hidden }) => !hidden);
  if (!section) return;
  const grid = find(".grid", section);
  const { gridTemplateColumns, rowGap } = getComputedStyle(grid);
  const columns = gridTemplateColumns.split(" ").length;
  const above = grid.getBoundingClientRect().top - section.getBoundingClientRect().top;
  const row = find(".tile:not([hidden])", grid).getBoundingClientRect().height + parseFloat(rowGap);
  for (const each of sections) {
    const rows = Math.ceil(all(".tile:not([hidden])", each).length / columns);
    each.style.containIntrinsicBlockSize = `${above + rows * row - parseFloat(rowGap)}px`;
  }
}
new ResizeObserver(reserve).observe(find("main"));

// Light and dark: as the system says, unless told otherwise.

const themes = ["auto", "light", "dark"];
function paint(theme) {
  document.documentElement.dataset.theme = theme;
  find(".theme").textContent = `Theme: ${theme}`;
}
let stored = null;
try {
  stored = localStorage.getItem("lightjax-theme");
} catch {} // a browser that keeps nothing for pages on disk
paint(themes.includes(stored) ? stored : "auto");
find(".theme").addEventListener("click", () => {
  const theme = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
  paint(theme);
  try {
    localStorage.setItem("lightjax-theme", theme);
  } catch {}
});

for (const tile of tiles) tile.tabIndex = -1;
if (tiles.length) select(tiles[0]);
filter();
route();
