// Networks whose accuracy of each class is known, and a test part that the reader makes.
const {classes, networks, tests} = data;
const MOST = 1500;
const first = Object.values(tests)[0];
const table = make(root, "table", {class: "live-numbers"});
const head = make(table, "tr");
for (const text of ["network", "overall", "", "class mean", ""]) make(head, "th", {scope: "col"}, text);
const rows = Object.fromEntries(Object.keys(networks).map((name) => {
  const row = make(table, "tr");
  make(row, "th", {scope: "row"}, name);
  const cells = {};
  for (const [key, colour] of [["overall", COLOURS.new], ["mean", COLOURS.right]]) {
    cells[key] = make(row, "td");
    cells[key + "Bar"] = make(make(row, "td", {class: "live-bars"}), "div",
      {style: `background: ${colour}`});
  }
  return [name, cells];
}));
const verdict = make(root, "p", {"aria-live": "polite", class: "live-verdict"});
const inputs = make(root, "div");
make(inputs, "div", {class: "live-axes"}, "images of each class in the test part:");
const counts = classes.map((name, i) => slider(inputs, name,
  {min: 0, max: MOST, step: 1, value: first[i]}, (v) => `${v}`, () => draw()));
const buttons = make(root, "div", {class: "live-row"});
for (const [name, images] of Object.entries(tests)) {
  make(buttons, "button", {type: "button"}, name).addEventListener("click", () => {
    counts.forEach((count, i) => count.set(images[i]));
    draw();
  });
}

const best = (scores) => Object.entries(scores).reduce((a, b) => (b[1] > a[1] ? b : a))[0];

function draw() {
  const images = counts.map((count) => count.get());
  const total = images.reduce((a, b) => a + b, 0);
  const overall = {}, mean = {};
  for (const [name, accuracy] of Object.entries(networks)) {
    const right = accuracy.reduce((sum, share, i) => sum + share * images[i], 0);
    overall[name] = total ? right / total : 0;
    mean[name] = accuracy.reduce((a, b) => a + b, 0) / accuracy.length;
    for (const [key, value] of [["overall", overall[name]], ["mean", mean[name]]]) {
      rows[name][key].textContent = total || key === "mean" ? `${value.toFixed(1)} %` : "";
      rows[name][key + "Bar"].style.width = `${value}%`;
    }
  }
  verdict.textContent = total
    ? `On ${total} images ${best(overall)} is ahead by overall accuracy, and ${best(mean)} by the `
      + "class mean, which no number of images changes."
    : "A test part without images.";
}
drawnWith(draw);
