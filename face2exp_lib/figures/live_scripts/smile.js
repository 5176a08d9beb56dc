// A face whose expression the reader chooses and strengthens, and what a network makes of it. All
// states are drawn and read beforehand: a sheet of pictures, an expression a row.
const {classes, expressions, strengths, sheet, side, percent} = data;
const row = make(root, "div", {class: "live-row"});
const face = make(row, "canvas", {
  class: "live-face", width: side, height: side, role: "img", "aria-label": "a rendered face"});
const beside = make(row, "div", {class: "live-beside"});
const expression = choice(beside, "expression",
  Object.fromEntries(expressions.map((name, i) => [i, name])), () => draw());
const strength = slider(beside, "strength",
  {min: 0, max: strengths.length - 1, step: 1, value: data.active},
  (v) => `${Math.round(100 * strengths[v])} %`, () => draw());
const table = make(beside, "table", {class: "live-numbers"});
const rows = classes.map((name) => {
  const line = make(table, "tr");
  make(line, "th", {scope: "row"}, name);
  const number = make(line, "td");
  const bar = make(make(line, "td", {class: "live-bars live-wide"}), "div",
    {style: `background: ${COLOURS.right}`});
  return {line, number, bar};
});
const verdict = make(beside, "p", {"aria-live": "polite", class: "live-verdict"});
const pictures = new Image();

function draw() {
  const [i, j] = [Number(expression.get()), strength.get()];
  face.getContext("2d").drawImage(pictures, j * side, i * side, side, side, 0, 0, side, side);
  const read = percent[i][j];
  const best = read.indexOf(Math.max(...read));
  rows.forEach(({line, number, bar}, k) => {
    number.textContent = `${read[k].toFixed(0)} %`;
    bar.style.width = `${read[k]}%`;
    line.style.fontWeight = k === best ? "bold" : "normal";
  });
  verdict.textContent = `The network says ${classes[best]}.`;
}
pictures.addEventListener("load", draw);
pictures.src = sheet;
