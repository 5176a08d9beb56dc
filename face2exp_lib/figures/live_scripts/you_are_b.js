// Faces that the reader names in B's place, and the feedback these names get: the dot product of
// A's gradient from each name with its gradient from labelled faces is stored for every name.
const {classes, faces, products, truth, network, eta} = data;
const said = faces.map(() => -1);
const sheet = make(root, "div", {class: "live-faces"});
const selects = faces.map((source, i) => {
  const card = make(sheet, "label", {class: "live-card"});
  make(card, "img", {src: source, alt: `unlabelled face ${i + 1}`});
  const select = make(card, "select", {"aria-label": `your name for face ${i + 1}`});
  make(select, "option", {value: -1}, "?");
  classes.forEach((name, k) => make(select, "option", {value: k}, name));
  select.addEventListener("change", () => { said[i] = Number(select.value); draw(); });
  return select;
});
const buttons = make(root, "div", {class: "live-row"});
const setAll = (names) => {
  names.forEach((k, i) => { said[i] = k; selects[i].value = k; });
  draw();
};
for (const [text, names] of [
  ["nobody has named them", faces.map(() => -1)],
  ["all neutral", faces.map(() => classes.indexOf("neutral"))],
  ["the network's names", network],
  ["the truth", truth],
]) make(buttons, "button", {type: "button"}, text).addEventListener("click", () => setAll(names));
const table = make(root, "table", {class: "live-numbers"});
const head = make(table, "tr");
for (const text of ["names", "f", "", "right"]) make(head, "th", {scope: "col"}, text);
const cells = (text, colour) => {
  const line = make(table, "tr");
  make(line, "th", {scope: "row"}, text);
  const f = make(line, "td");
  const bar = make(make(line, "td", {class: "live-bars"}), "div", {style: `background: ${colour}`});
  return {f, bar, right: make(line, "td")};
};
const lines = {
  yours: cells("yours", COLOURS.new),
  network: cells("the network's", COLOURS.right),
  truth: cells("the truth", COLOURS.mean),
};
const verdict = make(root, "p", {"aria-live": "polite", class: "live-verdict"});

// Faces without a name give no gradient; the mean is over all faces, as in L_u.
const feedback = (names) =>
  eta * names.reduce((sum, k, i) => sum + (k < 0 ? 0 : products[i][k]), 0) / names.length;
const right = (names) => names.filter((k, i) => k === truth[i]).length;
const most = eta * products.reduce(
  (sum, of) => sum + Math.max(...of.map(Math.abs)), 0) / products.length;

function draw() {
  const given = {yours: said, network, truth};
  const named = said.filter((k) => k >= 0).length;
  for (const [key, names] of Object.entries(given)) {
    const f = feedback(names), line = lines[key];
    line.f.textContent = signed(f, 4);
    line.bar.style.width = `${Math.min(100, 100 * Math.abs(f) / most)}%`;
    line.bar.style.opacity = f < 0 ? 0.4 : 1;
    // Told when all are named: until then the truth is not given away.
    line.right.textContent = key === "yours" && named < faces.length
      ? `${named} named` : `${right(names)} of ${faces.length}`;
  }
  const f = feedback(said);
  verdict.textContent = !named ? "Name a face."
    : f > 0 ? "A would get better at labelled faces: B is to be surer of such names."
      : "A would get worse at labelled faces: B is to unlearn such names.";
}
drawnWith(draw);
