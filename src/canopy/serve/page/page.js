"use strict";

const $ = (id) => document.getElementById(id);
// Rows of a file that are predicted at once: well below what a request may have.
const PART_ROWS = 10_000;
// Invalid rows of a file that are listed.
const MAX_PROBLEMS = 20;
// Categories that a list of options shows; of more, one is typed, with some as suggestions.
const MAX_OPTIONS = 60;
const MAX_SUGGESTIONS = 1000;
let model = null;
let asked = 0;
let files = 0;
// What is shown anew when the threshold moves.
let shownRow = null;
let shownFile = null;

/** Make an element with attributes, properties and children. */
function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "title"].includes(tag);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Ask the server; an answer that is no success becomes an Error with its message and the problems of rows. */
async function ask(path, body, type = "application/json") {
  const headers = { "X-API-Key": sessionStorage.getItem("key") ?? "" };
  if (body !== undefined) headers["Content-Type"] = type;
  const answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body });
  if (answer.ok) return answer;
  if (answer.status === 401) $("key-form").hidden = false;
  const content = await answer.json().catch(() => ({ error: `The server answered ${answer.status}` }));
  throw Object.assign(new Error(content.error), { problems: content.problems ?? [] });
}

// Whether the target is a number; its unit is behind each.
const isNumber = () => Object.keys(model.classes).length === 0;
const inUnit = (value) => [value.toLocaleString("en", { maximumSignificantDigits: 6 }), model.table.target.unit].filter(Boolean).join(" ");

const percent = (share) => `${(100 * share).toFixed(1)} %`;
const readable = (name) => name.replaceAll("_", " ");

/** Draw one bar of a list: name, length from 0 to 1 (from -1 where it may point to the left), the text behind it. */
function bar(name, length, value, { best = false } = {}) {
  const fill = make("i", length < 0 ? { class: "against" } : {});
  fill.style.setProperty("--length", Math.min(1, Math.abs(length)));
  return make("li", best ? { class: "best" } : {},
    make("span", { class: "name" }, name),
    make("span", { class: "track", "aria-hidden": "true" }, fill),
    make("span", { class: "value" }, value));
}

/** Say what is wrong with a value. */
const describe = ({ field, requirement, found }) => `${field || "the row"} must ${requirement}; got ${found}`;

/** The columns of a kind that the model uses: name and description of each. */
const columnsOf = (kind) => Object.keys(model.preprocessor[kind]).map((name) => [name, model.table.columns[name]]);

// The control of each column.
const controls = new Map();

/** Make a field of the form: label, controls, and the place where it is said what is wrong with it. */
function field(name, column, control, ...others) {
  const id = `field${controls.size}`;
  for (const [key, value] of Object.entries({ id, name, "aria-describedby": `${id}-note` })) control.setAttribute(key, value);
  for (const other of [control, ...others]) other.addEventListener("input", changed);
  controls.set(name, control);
  const optional = column.missing === "reject" ? "" : " (optional)";
  const label = [column.meaning || readable(name), column.unit].filter(Boolean).join(", ") + optional;
  for (const other of others) other.setAttribute("aria-label", `${label}, slider`);
  return make("div", { class: "field" }, make("label", { for: id }, label), ...others, control,
    make("p", { id: `${id}-note`, class: "note error" }));
}

function numericField([name, column]) {
  const { min, max, mean } = model.training.numeric[name];
  const whole = Number.isInteger(min) && Number.isInteger(max);
  const value = whole ? Math.round(mean) : Number(mean.toPrecision(4));
  const slider = make("input", { type: "range", min, max, step: whole ? 1 : (max - min) / 200 || 1, value });
  const number = make("input", { type: "number", step: "any", value });
  [number.min, number.max] = column.range.map((end) => end ?? "");
  slider.addEventListener("input", () => { number.value = slider.value; });
  number.addEventListener("input", () => { slider.value = number.value; });
  return field(name, column, number, slider);
}

function categoricalField([name, column]) {
  const names = column.one_hot ?? (column.categories === "auto" ? {} : column.categories);
  const values = new Set([...Object.keys(names), ...(column.one_hot ? [] : model.preprocessor.categorical[name].values)]);
  const options = [...values].slice(0, MAX_SUGGESTIONS).map((value) => make("option", { value }, names[value] ?? value));
  const share = (value) => model.training.categories[name][value] ?? 0;
  const likeliest = [...values].reduce((a, b) => (share(a) >= share(b) ? a : b), "");
  if (values.size > MAX_OPTIONS) {
    const list = make("datalist", { id: `list${controls.size}` }, ...options);
    const text = make("input", { type: "text", list: list.id, value: likeliest, autocomplete: "off" });
    const element = field(name, column, text);
    element.append(list);
    return element;
  }
  if (column.missing === "category") options.push(make("option", { value: "" }, "missing"));
  const select = make("select", {}, ...options);
  select.value = likeliest;
  return field(name, column, select);
}

function datetimeField([name, column]) {
  const parts = model.training.numeric;
  const days = parts[`${name}.time`]?.mean ?? Date.now() / 86_400_000;
  const [date, time] = new Date(days * 86_400_000).toISOString().split("T");
  const hasTime = `${name}.hour` in parts;
  return field(name, column, hasTime ? make("input", { type: "datetime-local", value: `${date}T${time.slice(0, 5)}` })
    : make("input", { type: "date", value: date }));
}

/** Make the controls of a row, from the columns that the model describes. */
function buildForm() {
  controls.clear();
  $("row").replaceChildren(...columnsOf("numeric").map(numericField), ...columnsOf("categorical").map(categoricalField),
    ...columnsOf("datetime").map(datetimeField));
}

/** Read the row that the controls show; what is empty, or no number, is null. */
function readRow() {
  const value = (control) => (control.type === "number" ? control.valueAsNumber : control.value || null);
  return Object.fromEntries([...controls].map(([name, control]) => [name, value(control)]));
}

let waiting = null;
function changed() {
  clearTimeout(waiting);
  waiting = setTimeout(explain, 60);
}

/** Predict the row and show the result; an answer that was overtaken is left alone. */
async function explain() {
  const number = ++asked;
  try {
    const reported = await (await ask("explain", JSON.stringify({ rows: [readRow()] }))).json();
    if (number !== asked) return;
    showProblems([]);
    $("error").textContent = "";
    if (isNumber()) showNumber(reported);
    else showClass(reported);
    const least = isNumber() ? Number.MIN_VALUE : 0.1;
    const largest = Math.max(...reported.contributions.map((item) => Math.abs(item.contribution)), least);
    $("contributions").replaceChildren(...reported.contributions.map((item) =>
      bar(readable(item.feature), item.contribution / largest, isNumber()
        ? `${item.contribution < 0 ? "−" : "+"} ${inUnit(Math.abs(Number(item.contribution.toPrecision(3))))}`
        : `× ${Math.exp(item.contribution).toPrecision(2)}`)));
  } catch (error) {
    if (number !== asked) return;
    shownRow = null;
    $("verdict").textContent = "";
    $("probabilities").replaceChildren();
    $("contributions").replaceChildren();
    showProblems(error.problems ?? []);
    $("error").textContent = error.problems?.map(describe).join(". ") || error.message;
  }
}

/** Show the predicted class of a row, and the probability of each. */
function showClass(reported) {
  shownRow = reported;
  const shown = threshold.classOf(reported);
  $("verdict").textContent = `${shown}, ${percent(reported.probabilities[shown])}`;
  $("probabilities").replaceChildren(...Object.entries(reported.probabilities).map(([name, share]) =>
    bar(name, share, percent(share), { best: name === shown })));
  // They are those of the server's class.
  $("contributed").textContent = shown === reported.class ? "" : ` to ${reported.class}`;
}

/** Show how many rows of the file are in each class. */
function showCounts({ classes, counts, probabilities }) {
  const found = threshold.count(counts, probabilities);
  const total = Math.max(found.reduce((sum, n) => sum + n, 0), 1);
  $("batch-counts").replaceChildren(...classes.map((name, place) => bar(name, found[place] / total, percent(found[place] / total))));
}

/** Show the number that is predicted for a row, and its interval. */
function showNumber(reported) {
  const [low, high] = reported.interval;
  const { level } = model.metrics.test.calibrated;
  $("verdict").textContent = inUnit(reported.predicted);
  $("probabilities").replaceChildren(make("li", {}, `${inUnit(low)} to ${inUnit(high)}, made to cover ${(100 * level).toFixed(0)} % of rows`));
}

/** Mark the fields that are wrong and say at each what it must be. */
function showProblems(problems) {
  for (const [name, control] of controls) {
    const problem = problems.find((found) => found.field === name);
    $(`${control.id}-note`).textContent = problem ? `must ${problem.requirement}; got ${problem.found}` : "";
    control.setAttribute("aria-invalid", problem !== undefined);
  }
}

/** Find the end of a CSV record: the end of a line outside quotes. */
function endOfRecord(text, start) {
  const { quote } = model.table.file;
  let end = start;
  let nQuotes = 0;
  do {
    const next = text.indexOf("\n", end) + 1 || text.length;
    if (quote) nQuotes += text.slice(end, next).split(quote).length - 1;
    end = next;
  } while (nQuotes % 2 && end < text.length);
  return end;
}

/** Cut a CSV text into parts that a request may have, each with the header. */
function* partsOf(text) {
  let start = endOfRecord(text, 0);
  const header = text.slice(0, start);
  let nParts = 0;
  do {
    let end = start;
    for (let n = 0; n < PART_ROWS && end < text.length; n += 1) end = endOfRecord(text, end);
    const rows = text.slice(start, end);
    // Blank lines at the end are no part of their own.
    if (rows.trim() || nParts === 0) yield header + rows;
    nParts += 1;
    start = end;
  } while (start < text.length);
}

/** Split the CSV that the server wrote into records of values. */
function parseCsv(text) {
  const records = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\n]*))(,|\n|$)/g)) {
    records.at(-1).push(quoted?.replaceAll('""', '"') ?? plain);
    if (end === "\n") records.push([]);
  }
  // Behind the last line.
  return records.slice(0, -1);
}

/** Read a file as text: UTF-8, or what spreadsheets write instead. */
async function textOf(file) {
  const bytes = await file.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Predict a file, part by part, and offer the answer for download; a file that comes later takes its place. */
async function predictFile(file) {
  const number = ++files;
  const state = (text) => { $("batch-state").textContent = text; };
  state(`Predicting ${file.name} …`);
  $("batch-note").textContent = "";
  shownFile = null;
  $("batch-counts").replaceChildren();
  $("batch-problems").replaceChildren();
  $("download").hidden = true;
  const classes = model.preprocessor.classes.map((value) => [value, model.classes[value]]);
  const counts = new Map(classes.map(([value]) => [value, 0]));
  const answers = [];
  const probabilities = [];
  const problems = [];
  let nRows = 0;
  let nRejected = 0;
  let nLabelled = 0;
  let nCorrect = 0;
  let sumErrors = 0;
  let ignored = [];
  const placeOf = (row) => `row ${(nRows + row + 1).toLocaleString("en")} below the header`;
  try {
    for (const part of partsOf(await textOf(file))) {
      const answer = await ask("predict/csv?on_error=reject_row", part, "text/csv");
      const text = await answer.text();
      if (number !== files) return;
      const header = (name) => JSON.parse(answer.headers.get(name) ?? "0");
      nRejected += header("X-Rejected-Rows");
      nLabelled += header("X-Labelled-Rows");
      nCorrect += header("X-Correct-Rows");
      sumErrors += header("X-Mean-Absolute-Error") * header("X-Labelled-Rows");
      ignored = header("X-Ignored-Columns") || ignored;
      answers.push(answers.length ? text.slice(text.indexOf("\n") + 1) : text);
      const [names, ...records] = parseCsv(text);
      // Before it are keys, which may have any name.
      const label = names.length - (isNumber() ? 4 : classes.length + 3);
      records.forEach((values, row) => {
        if (isNumber() ? values[label] !== "" : counts.has(values[label])) {
          if (classes.length === 2) probabilities.push(Number(values[label + 3]));
          if (!isNumber()) counts.set(values[label], counts.get(values[label]) + 1);
        } else if (problems.length < MAX_PROBLEMS) problems.push(`${placeOf(row)}: ${values.at(-1)}`);
      });
      nRows += records.length;
      state(`Predicting ${file.name} … ${nRows.toLocaleString("en")} rows so far`);
    }
    const nPredicted = nRows - nRejected;
    state(nRejected ? `${nPredicted.toLocaleString("en")} of ${nRows.toLocaleString("en")} rows of ${file.name}; the others have invalid values:`
      : `${nRows.toLocaleString("en")} rows of ${file.name}`);
    if (nRejected > problems.length) problems.push(`and ${(nRejected - problems.length).toLocaleString("en")} more`);
    $("batch-problems").replaceChildren(...problems.map((problem) => make("li", {}, problem)));
    $("batch-note").textContent = [
      nLabelled && isNumber() ? `The mean absolute error of ${nLabelled.toLocaleString("en")} labelled rows is ${inUnit(sumErrors / nLabelled)}.` : "",
      nLabelled && !isNumber() ? `${percent(nCorrect / nLabelled)} of ${nLabelled.toLocaleString("en")} labelled rows are predicted correctly${model.decision ? " by the model's threshold" : ""}.` : "",
      ignored.length ? `Columns that the table does not have are ignored: ${ignored.join(", ")}.` : "",
    ].join(" ").trim();
    shownFile = { classes: classes.map(([, name]) => name), counts: [...counts.values()], probabilities };
    showCounts(shownFile);
    URL.revokeObjectURL($("download").href);
    $("download").href = URL.createObjectURL(new Blob(answers, { type: "text/csv" }));
    $("download").hidden = false;
  } catch (error) {
    if (number !== files) return;
    const found = error.problems ?? [];
    state(found.length ? `${file.name} cannot be predicted:` : error.message);
    $("batch-problems").replaceChildren(...found.map(({ row, ...problem }) =>
      make("li", {}, (row === null ? "" : `${placeOf(row)}: `) + describe(problem))));
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
    const reported = column.index === null ? "" : `: ${column.index.toFixed(3)}, change ${column.change}`;
    return make("figure", { class: column.change ?? "" },
      make("figcaption", {}, readable(column.name) + reported),
      make("svg", { viewBox: "0 0 100 50", preserveAspectRatio: "none", role: "img", "aria-label": `Shares of ${column.name}${reported}` }, ...bars));
  }));
}

function showCard() {
  const { test } = model.metrics;
  const used = ["numeric", "categorical", "datetime"].flatMap((kind) => Object.keys(model.preprocessor[kind]));
  const unused = Object.keys(model.table.columns).filter((name) => !used.includes(name));
  const scores = isNumber() ? {
    "Test RMSE": `${inUnit(test.rmse)} (95 %: ${test.intervals.rmse.map(inUnit).join(" to ")})`,
    "Mean absolute error": inUnit(test.mae),
    "R²": test.r2?.toFixed(4) ?? "none",
    "In their interval": `${percent(test.calibrated.coverage)} of the test rows, which is to be ${percent(test.calibrated.level)}`,
  } : {
    "Test accuracy": `${test.accuracy.toFixed(4)} (95 %: ${test.intervals.accuracy.map((end) => end.toFixed(4)).join(" to ")})`,
    "Macro-F1": test.macro_f1.toFixed(4),
    "Calibration error": `${test.calibrated.ece.toFixed(4)} with the temperature ${model.calibration.temperature.toFixed(3)}`,
  };
  const facts = {
    ...scores,
    "Test rows": test.n_rows.toLocaleString("en"),
    "Training rows": model.training.n_rows.toLocaleString("en"),
    ...(model.compression ? {
      "Variant": `${model.compression.variant}: ${model.compression.how}`,
      ...(isNumber() ? { "RMSE added": percent(model.compression.rmse_increase) }
        : { "Accuracy lost": `${model.compression.accuracy_drop.toFixed(4)} of the whole model's` }),
    } : { "Parameters": model.run.n_parameters.toLocaleString("en") }),
    "Run": model.run.id,
    "Commit": model.run.git_commit ?? "none",
    "Graph": `SHA-256 ${model.files["model.onnx"]}`,
    "Not used": unused.map(readable).join(", ") || "nothing",
  };
  $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) =>
    [make("dt", {}, name), make("dd", {}, value)]));
  if (isNumber()) return;
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
  const { title, about } = model.table;
  document.title = title ? `${title} · Canopy` : "Canopy";
  $("title").textContent = title || "Predictions";
  $("about").textContent = about;
  if (isNumber()) {
    $("probabilities-title").textContent = "Prediction interval";
    $("contributions-note").textContent = "By how much the prediction is above what it would be on average over the values that the feature has in the training rows.";
  }
  buildForm();
  showCard();
  threshold.start(model, () => {
    if (shownRow) showClass(shownRow);
    if (shownFile) showCounts(shownFile);
  });
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
