// A question that the page marks. Answers may be tried one after the other.
const {question, answers, right} = data;
const form = make(root, "fieldset", {class: "live-quiz"});
make(form, "legend", {}, question);
const told = document.createElement("p");
told.setAttribute("aria-live", "polite");
told.className = "live-verdict";
for (const [answer, why] of answers) {
  const label = make(form, "label");
  const input = make(label, "input", {type: "radio", name: root.id});
  make(label, "span", {}, answer);
  input.addEventListener("change", () => {
    told.textContent = (answer === right ? "✓ " : "✗ ") + why;
  });
}
form.append(told);
