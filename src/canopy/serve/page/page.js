"use strict";

const $ = (id) => document.getElementById(id);
// Rows of a file that are predicted at once: well below what a request may have.
const PART_ROWS = 10_000;
let model = null;
let asked = 0;
let files = 0;

/** Make an element with attributes, properties and children. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Ask the server; an answer that is no success becomes an Error with its message and what is wrong with which row. */
async function ask(path, body, type = "application/json") {
  const headers = { "X-API-Key": sessionStorage.getItem("key") ?? "" };
  if (body !== undefined) headers["Content-Type"] = type;
  const answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body });
  if (answer.ok) return answer;
  if (answer.status === 401) $("key-form").hidden = false;
  const told = await answer.json().catch(() => ({ error: `The server answered ${answer.status}` }));
  throw Object.assign(new Error(told.error), { problems: told.problems ?? [] });
}

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const readable = (name) => name.replaceAll("_", " ");

/** Draw one bar of a list: name, length from 0 to 1 (from -1 where it may point to the left), what stands behind it. */
function bar(name, length, value, { best = false } = {}) {
  const fill = make("i", length < 0 ? { class: "against" } : {});
  fill.style.setProperty("--length", Math.min(1, Math.abs(length)));
  return make("li", best ? { class: "best" } : {},
    make("span", { class: "name" }, name),
    make("span", { class: "track", "aria-hidden": "true" }, fill),
    make("span", { class: "value" }, value));
}

/** The groups that a row gives; the others tell which numbers are missing. */
const givenGroups = () => model.table.groups.filter((group) => group.made_of !== "gaps");

/** What a row says to set a column: its name, or the text that it is made of. */
const choiceOf = (group, column) => (group.made_of === "text" ? column.slice(group.name.length + 1) : column);

/** Say what is wrong with a value. */
const describe = ({ field, requirement, found }) => `${field} must be ${requirement}; found ${found}`;

/** Make the place where it is said what is wrong with a field. */
const noteOf = (field) => make("p", { id: `${field}-note`, class: "note error", "data-field": field });

/** Make the controls of a row, from the columns that the model describes. */
function buildForm() {
  const { numeric } = model.table;
  const unused = new Set(model.unused);
  $("row").replaceChildren(
    ...numeric.map((column) => {
      const { min, max, mean } = model.training.numeric[column.name];
      const whole = Number.isInteger(min) && Number.isInteger(max);
      const step = whole ? 1 : (max - min) / 200;
      const value = whole ? Math.round(mean) : Number(mean.toPrecision(4));
      const slider = make("input", { type: "range", min, max, step, value, "aria-label": `${column.meaning}, slider` });
      const number = make("input", {
        type: "number", id: column.name, min: column.low, max: column.high, step: "any", value, "aria-describedby": `${column.name}-note`,
      });
      slider.addEventListener("input", () => { number.value = slider.value; changed(); });
      number.addEventListener("input", () => { slider.value = number.value; changed(); });
      const note = unused.has(column.name) ? " (not used)" : "";
      return make("div", { class: "field" },
        make("label", { for: column.name }, [column.meaning, column.unit].filter(Boolean).join(", ") + note), slider, number,
        noteOf(column.name));
    }),
    ...givenGroups().map((group) => {
      const shares = model.training.groups[group.name];
      const likeliest = Object.keys(shares).reduce((a, b) => (shares[a] >= shares[b] ? a : b));
      const options = Object.entries(group.columns).map(([name, meaning]) => {
        const option = make("option", { value: choiceOf(group, name) }, meaning);
        option.selected = name === likeliest;
        return option;
      });
      const select = make("select", { id: group.name, "aria-describedby": `${group.name}-note` }, ...options);
      select.addEventListener("change", changed);
      return make("div", { class: "field" }, make("label", { for: group.name }, group.meaning), select, noteOf(group.name));
    }));
}

/** Read the row that the controls show. */
function readRow() {
  const row = {};
  for (const column of model.table.numeric) row[column.name] = $(column.name).valueAsNumber; // NaN becomes null
  for (const group of givenGroups()) row[group.name] = $(group.name).value || null;
  return row;
}

let waiting = null;
function changed() {
  clearTimeout(waiting);
  waiting = setTimeout(explain, 60);
}

/** Predict the row and show what came of it; an answer that was overtaken is left alone. */
async function explain() {
  const number = ++asked;
  try {
    const told = await (await ask("explain", JSON.stringify({ rows: [readRow()] }))).json();
    if (number !== asked) return;
    showProblems([]);
    $("error").textContent = "";
    const best = told.probabilities[told.class];
    $("verdict").textContent = `${told.class}, ${percent(best)}`;
    $("probabilities").replaceChildren(...Object.entries(told.probabilities).map(([name, share]) =>
      bar(name, share, percent(share), { best: name === told.class })));
    const largest = Math.max(...told.contributions.map((item) => Math.abs(item.contribution)), 0.1);
    $("contributions").replaceChildren(...told.contributions.map((item) =>
      bar(readable(item.feature), item.contribution / largest, `× ${Math.exp(item.contribution).toPrecision(2)}`)));
  } catch (error) {
    if (number !== asked) return;
    $("verdict").textContent = "";
    $("probabilities").replaceChildren();
    $("contributions").replaceChildren();
    showProblems(error.problems ?? []);
    $("error").textContent = error.problems?.map(describe).join(". ") || error.message;
  }
}

/** Mark the fields that are wrong and say at each what it must be. */
function showProblems(problems) {
  for (const note of document.querySelectorAll("#row .note")) {
    const problem = problems.find(({ field }) => field === note.dataset.field);
    note.textContent = problem ? describe({ ...problem, field: "" }).trim() : "";
    $(note.dataset.field).setAttribute("aria-invalid", problem !== undefined);
  }
}

/** Cut a CSV text into parts that a request may have, each with the header line. */
function* partsOf(text) {
  const afterLine = (start) => text.indexOf("\n", start) + 1 || text.length;
  let start = afterLine(0);
  const header = text.slice(0, start);
  let nParts = 0;
  do {
    let end = start;
    for (let n = 0; n < PART_ROWS && end < text.length; n += 1) end = afterLine(end);
    const rows = text.slice(start, end);
    // Blank lines at the end are no part of their own.
    if (rows.trim() || nParts === 0) yield header + rows;
    nParts += 1;
    start = end;
  } while (start < text.length);
}

/** Predict a file, part by part, and offer the answer for download; a file that comes later takes its place. */
async function predictFile(file) {
  const number = ++files;
  const state = (text) => { $("batch-state").textContent = text; };
  state(`Predicting ${file.name} …`);
  $("batch-counts").replaceChildren();
  $("batch-problems").replaceChildren();
  $("download").hidden = true;
  const classes = Object.entries(model.table.classes);
  const counts = classes.map(() => 0);
  const starts = classes.map(([value]) => [`${value},`, `"${value.replaceAll('"', '""')}",`]);
  const answers = [];
  let nRows = 0;
  try {
    for (const part of partsOf(await file.text())) {
      const answer = await (await ask("predict/csv", part, "text/csv")).text();
      if (number !== files) return;
      const rows = answer.slice(answer.indexOf("\n") + 1);
      answers.push(answers.length ? rows : answer);
      for (const line of rows.trimEnd().split("\n")) {
        counts[starts.findIndex((either) => either.some((start) => line.startsWith(start)))] += 1;
        nRows += 1;
      }
      state(`Predicting ${file.name} … ${nRows.toLocaleString("en")} rows so far`);
    }
    state(`${nRows.toLocaleString("en")} rows of ${file.name}`);
    $("batch-counts").replaceChildren(...classes.map(([, name], index) =>
      bar(name, counts[index] / nRows, percent(counts[index] / nRows))));
    URL.revokeObjectURL($("download").href);
    $("download").href = URL.createObjectURL(new Blob(answers, { type: "text/csv" }));
    $("download").hidden = false;
  } catch (error) {
    if (number !== files) return;
    const problems = error.problems ?? [];
    state(problems.length ? `${file.name} cannot be predicted:` : error.message);
    $("batch-problems").replaceChildren(...problems.map(({ row, field, requirement, found }) => {
      const place = row === null ? "" : `row ${(nRows + row + 1).toLocaleString("en")} below the header`;
      return make("li", {}, describe({ field: [place, field].filter(Boolean).join(": "), requirement, found }));
    }));
  }
}

/** Draw how often each bin is met: grey on the training rows, in colour since the server started. */
async function showDrift() {
  const report = await (await ask("drift")).json();
  const enough = report.n_rows >= report.min_rows;
  $("drift-state").textContent = `${report.n_rows.toLocaleString("en")} rows predicted since the server started` +
    (enough ? "; the index is the population stability index: up to 0.1 no change, from 0.25 on a large one."
      : `; from ${report.min_rows} on, each column gets an index.`) + " Grey: the training rows, in colour: these.";
  $("drift-columns").replaceChildren(...report.columns.map((column) => {
    const height = Math.max(...column.expected, ...column.found, 0.01);
    const width = 100 / column.bins.length;
    const bars = column.bins.flatMap((name, index) => ["expected", "found"].map((kind, place) => {
      const share = column[kind][index];
      const rect = make("rect", {
        class: kind, x: index * width + place * width * 0.44 + width * 0.06, width: width * 0.44,
        y: 50 - (48 * share) / height, height: (48 * share) / height,
      }, make("title", {}, `${name}: ${percent(share)} ${kind === "found" ? "now" : "in training"}`));
      return rect;
    }));
    const told = column.index === null ? "" : `: ${column.index.toFixed(3)}, change ${column.change}`;
    return make("figure", { class: column.change ?? "" },
      make("figcaption", {}, readable(column.name) + told),
      make("svg", { viewBox: "0 0 100 50", preserveAspectRatio: "none", role: "img", "aria-label": `Shares of ${column.name}${told}` }, ...bars));
  }));
}

function showCard() {
  const { test } = model.metrics;
  const facts = {
    "Test accuracy": `${test.accuracy.toFixed(4)} (95 %: ${test.intervals.accuracy.map((end) => end.toFixed(4)).join(" to ")})`,
    "Macro-F1": test.macro_f1.toFixed(4),
    "Calibration error": `${test.calibrated.ece.toFixed(4)} with the temperature ${model.temperature.toFixed(3)}`,
    "Test rows": test.n_rows.toLocaleString("en"),
    "Training rows": model.training.n_rows.toLocaleString("en"),
    ...(model.compression ? {
      "Variant": `${model.compression.variant}: ${model.compression.how}`,
      "Accuracy lost": `${model.compression.accuracy_drop.toFixed(4)} of the whole model's`,
    } : { "Parameters": model.run.n_parameters.toLocaleString("en") }),
    "Run": model.run.id,
    "Commit": model.run.git_commit ?? "none",
    "Graph": `SHA-256 ${model.files["model.onnx"]}`,
    "Not used": model.unused.map(readable).join(", ") || "nothing",
  };
  $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) =>
    [make("dt", {}, name), make("dd", {}, value)]));
  const head = make("tr", {}, ...["Class", "Precision", "Recall", "F1", "Test rows"].map((name) => make("th", { scope: "col" }, name)));
  const rows = Object.entries(test.per_class).map(([name, scores]) => make("tr", {}, make("td", {}, name),
    ...[scores.precision, scores.recall, scores.f1].map((value) => make("td", {}, value.toFixed(4))),
    make("td", {}, scores.support.toLocaleString("en"))));
  $("scores").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
}

async function start() {
  try {
    model = await (await ask("model")).json();
  } catch (error) {
    $("title").textContent = "Canopy";
    $("error").textContent = error.message;
    return;
  }
  $("key-form").hidden = true;
  document.title = `${model.title} · Canopy`;
  $("title").textContent = model.title;
  $("about").textContent = model.about;
  $("n-features").textContent = model.table.numeric.length +
    givenGroups().reduce((sum, group) => sum + (group.made_of === "text" ? 1 : Object.keys(group.columns).length), 0);
  buildForm();
  showCard();
  await Promise.all([explain(), showDrift()]);
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", $("key").value);
  start();
});
$("reset").addEventListener("click", () => { buildForm(); explain(); });
$("refresh").addEventListener("click", showDrift);
$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  // So that the same file, changed, can be chosen again.
  $("file").value = "";
  if (file) predictFile(file);
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) predictFile(event.dataTransfer.files[0]);
  });
}
start();
