"use strict";

/** The threshold of two classes: that of the model until the slider moves; then the page chooses the classes. */
const threshold = {
  // Null while classes are those of the server.
  chosen: null,
  // Of the classes, the positive one last.
  names: [],

  /** Show the slider for a model of two classes; `redraw` is called whenever it moves. */
  start(model, redraw) {
    // Objects have integers among their keys first.
    const names = this.names = model.preprocessor.classes.map((value) => model.classes[value]);
    if (names.length !== 2) return;
    const own = model.decision?.threshold ?? 0.5;
    const [slider, note] = ["threshold", "threshold-note"].map((id) => document.getElementById(id));
    const show = () => {
      const shown = this.chosen ?? own;
      const source = model.decision ? `chosen on validation rows for ${model.decision.goal.name}`
        : "the likelier class";
      note.textContent = `${names[1]} from ${(100 * shown).toFixed(1)} % on. The model's own threshold is ` +
        `${(100 * own).toFixed(1)} %, ${source}.`;
      slider.setAttribute("aria-valuetext", `${(100 * shown).toFixed(1)} %`);
    };
    const set = (chosen) => {
      this.chosen = chosen;
      show();
      redraw();
    };
    document.getElementById("threshold-label").textContent = `Threshold of ${names[1]}`;
    slider.value = own;
    slider.addEventListener("input", () => set(slider.valueAsNumber));
    document.getElementById("threshold-reset").addEventListener("click", () => {
      slider.value = own;
      set(null);
    });
    show();
    document.getElementById("threshold-field").hidden = false;
  },

  /** Name the class of a row. */
  classOf(reported) {
    if (this.chosen === null) return reported.class;
    const [negative, positive] = this.names;
    return reported.probabilities[positive] >= this.chosen ? positive : negative;
  },

  /** Count the rows of each class: as the server has done, or by probabilities of the second one. */
  count(counted, probabilities) {
    if (this.chosen === null) return counted;
    const nPositive = probabilities.reduce((n, share) => n + (share >= this.chosen), 0);
    return [probabilities.length - nPositive, nPositive];
  },
};
