// The same faces through training, and what a run calls each of them.
const {classes, faces, truth, runs} = data;
const names = Object.keys(runs);
const run = choice(root, "run", Object.fromEntries(names.map((name) => [name, name])), () => draw());
const last = runs[names[0]].length - 1;
const state = slider(root, "validation", {min: 0, max: last, step: 1, value: 0},
  (v) => `${v + 1} of ${last + 1}`, () => draw());
const verdict = make(root, "p", {"aria-live": "polite", class: "live-verdict"});
const sheet = make(root, "div", {class: "live-faces"});
const cards = faces.map((source, i) => {
  const card = make(sheet, "div", {class: "live-card"});
  const picture = make(card, "img", {src: source, alt: `a face of ${classes[truth[i]]}`});
  return {picture, told: make(card, "span", {class: "live-told"})};
});

function draw() {
  const {step, best, percent} = runs[run.get()][state.get()];
  let right = 0;
  cards.forEach(({picture, told}, i) => {
    const hit = best[i] === truth[i];
    right += hit;
    told.textContent = `${hit ? "✓" : "✗"} ${classes[best[i]]} ${percent[i]} %`;
    picture.style.outline = `3px solid ${hit ? COLOURS.mean : COLOURS.new}`;
  });
  const called = classes.map((name, k) => [best.filter((b) => b === k).length, name]);
  const [most, name] = called.sort((a, b) => b[0] - a[0])[0];
  verdict.textContent = `Step ${step.toLocaleString("en")}: ${right} of ${faces.length} right; `
    + `called most often: ${name} (${most}).`;
}
drawnWith(draw);
