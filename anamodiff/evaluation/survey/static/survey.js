// The survey: shows pair after pair, keeps the rankings in this browser, saves them as a file.
"use strict";

const survey = JSON.parse(document.getElementById("survey").textContent);
const QUESTIONS = {
  motion: {
    part: "Motion",
    text: "Which result follows the driving motion best?",
    hint: "Compare each result with the driving clip: poses, timing, how far it moves.",
    compare: "driving",
  },
  shape: {
    part: "Shape",
    text: "Which result keeps the source’s shape best?",
    hint: "Compare each result with the source: the same character, whole and undistorted?",
    compare: "source",
  },
};
const STEPS = survey.questions.flatMap((question) =>
  survey.pairs.map((pair, index) => ({ question, pair, index })),
);
const STORE = `survey-${survey.survey}`;
const main = document.getElementById("main");

// --- state ---

// `step` is -1 before the first ranking and STEPS.length after the last. A ranking has one place
// per result, best first; null where nothing stands yet.
function begin() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  const person = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { person, turn: bytes[8], step: -1, rankings: {} };
}

function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(STORE));
    if (kept && kept.person && kept.step <= STEPS.length) return kept;
  } catch {
    // No storage here, or not ours: begin.
  }
  return begin();
}

function keep() {
  try {
    localStorage.setItem(STORE, JSON.stringify(state));
    return true;
  } catch {
    return false;
  }
}

let state = load();

function rankingOf({ question, pair }) {
  const name = `${question}/${pair.pair}`;
  state.rankings[name] ??= pair[question].map(() => null);
  return state.rankings[name];
}

function isDone(step) {
  return rankingOf(step).every((result) => result !== null);
}

// Each person starts the shuffled row at another place: no result is always the first.
function inTurn(results) {
  const first = state.turn % results.length;
  return [...results.slice(first), ...results.slice(0, first)];
}

// --- ranking ---

// Gives `result` a place; who stood there gets the place that `result` had, if any.
function place(ranking, result, rank) {
  const old = ranking.indexOf(result);
  if (old >= 0) ranking[old] = ranking[rank];
  ranking[rank] = result;
}

// A click gives the best place that is free, or takes the place away again.
function toggle(ranking, result) {
  const old = ranking.indexOf(result);
  if (old >= 0) ranking[old] = null;
  else ranking[ranking.indexOf(null)] = result;
}

// --- drawing ---

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

function button(text, action, attributes = {}) {
  return make("button", { type: "button", onclick: action, ...attributes }, text);
}

function videoOf(file, label) {
  const video = make("video", {
    src: `videos/${file}`, loop: true, muted: true, autoplay: true, playsinline: true,
    preload: "auto", "aria-label": label, disablepictureinpicture: true,
  });
  video.muted = true; // the attribute alone does not count for elements made by a script
  video.addEventListener("error", () => {
    if (!video.isConnected) return; // the person has moved on
    video.replaceWith(make("span", { class: "broken" }, `${label} cannot be played`));
    refresh(STEPS[state.step]);
  });
  return video;
}

// All clips from their first frames, once each can play (or after three seconds).
async function startTogether() {
  const videos = [...main.querySelectorAll("video")];
  const ready = videos.map((video) => video.readyState >= 3 || new Promise((go) => {
    for (const event of ["canplay", "error"]) video.addEventListener(event, go, { once: true });
  }));
  await Promise.race([Promise.all(ready), new Promise((go) => setTimeout(go, 3000))]);
  for (const video of videos) video.currentTime = 0;
  for (const video of videos) video.play().catch(() => {});
}

function reference(role, file, step) {
  const watched = QUESTIONS[step.question].compare === role;
  const title = role === "source" ? "Source" : "Driving motion";
  return make("figure", { class: watched ? "watched" : "" },
    videoOf(file, `${title} clip`), make("figcaption", {}, title));
}

function card(step, result, index) {
  const ranking = rankingOf(step);
  const letter = String.fromCharCode(65 + index);
  const set = (rank) => () => { place(ranking, result, rank); refresh(step); };
  const pick = make("button", {
    type: "button", class: "pick", onclick: () => { toggle(ranking, result); refresh(step); },
  }, videoOf(result, `Result ${letter}`), make("span", { class: "badge", "aria-hidden": "true" }));
  const ranks = ranking.map((_, rank) =>
    button(String(rank + 1), set(rank), { "aria-label": `Result ${letter}: rank ${rank + 1}` }));
  const onkeydown = (event) => {
    const rank = Number(event.key) - 1;
    if (!event.ctrlKey && !event.metaKey && !event.altKey && rank in ranking) set(rank)();
  };
  return make("li", { class: "card", "data-result": result, "data-letter": letter, onkeydown },
    pick, make("div", { class: "ranks", role: "group", "aria-label": `Rank of result ${letter}` },
      make("span", { "aria-hidden": "true" }, letter), ...ranks));
}

// Brings badges, buttons and the status line up to date with the ranking; clips play on.
function refresh(step) {
  const ranking = rankingOf(step);
  for (const element of main.querySelectorAll(".card")) {
    const rank = ranking.indexOf(element.dataset.result);
    const said = rank < 0 ? "no rank yet" : `rank ${rank + 1}`;
    element.classList.toggle("ranked", rank >= 0);
    element.querySelector(".badge").textContent = rank < 0 ? "" : rank + 1;
    element.querySelector(".pick").setAttribute("aria-label", `Result ${element.dataset.letter}: ${said}`);
    element.querySelectorAll(".ranks button").forEach((one, index) => {
      one.setAttribute("aria-pressed", index === rank);
    });
  }
  const open = ranking.filter((result) => result === null).length;
  const broken = main.querySelector(".broken") !== null; // nobody ranks what they have not seen
  let status = open === 0 ? "All ranked." : `${open} more to rank.`;
  if (open === ranking.length) status = `Click the results from best (1) to worst (${open}).`;
  if (broken) status = "This browser cannot play a clip. Please try another one.";
  main.querySelector("#status").textContent = status;
  main.querySelector("#next").disabled = broken || open > 0;
  main.querySelector("#clear").disabled = open === ranking.length;
  main.querySelector("#unsaved").hidden = keep();
}

function showRanking(step) {
  const { pair, question } = step;
  const { text, hint } = QUESTIONS[question];
  const results = inTurn(pair[question]);
  const clear = () => { rankingOf(step).fill(null); refresh(step); };
  main.append(
    make("div", { class: "ask" }, make("h1", { tabindex: "-1" }, text), make("p", {}, hint)),
    make("div", { class: "stage" },
      make("section", { class: "references", "aria-label": "Given clips" },
        reference("source", pair.source, step), reference("driving", pair.driving, step)),
      make("ol", { class: "results", "aria-label": "Results" },
        ...results.map((result, index) => card(step, result, index)))),
    make("nav", {},
      button("Back", () => go(state.step - 1), { id: "back" }),
      button("Clear ranks", clear, { id: "clear" }),
      button("Start clips together", startTogether, { id: "together" }),
      make("p", { id: "status", role: "status" }),
      button("Next", () => go(state.step + 1), { id: "next", class: "primary" })),
    make("p", { id: "unsaved", hidden: true },
      "This browser keeps no progress: please finish without closing the page."),
  );
  refresh(step);
  startTogether();
}

function showIntroduction() {
  const count = survey.pairs.length;
  const pairs = count === 1 ? "one pair of clips" : `${count} pairs of clips`;
  const begun = Object.values(state.rankings).flat().some((result) => result !== null);
  main.append(make("article", {},
    make("h1", { tabindex: "-1" }, survey.title),
    make("p", {}, "The character of a ", make("b", {}, "source"), " clip was made to move as in a ",
      make("b", {}, "driving"), " clip, in several ways. You will see the results side by side and ",
      "rank them from best to worst."),
    make("ol", {},
      ...survey.questions.map((name) => make("li", {},
        make("b", {}, `${QUESTIONS[name].part}: `), `${pairs}. ${QUESTIONS[name].text}`))),
    make("ul", {},
      make("li", {}, "Click the results from best to worst; click again to take a rank back. The ",
        "numbers below a clip give it that rank at once."),
      make("li", {}, "With the keyboard: Tab moves from clip to clip, Enter ranks, and a digit ",
        "gives that rank."),
      make("li", {}, "There are no ties: where two seem equal, go by your first impression."),
      make("li", {}, "Your progress is kept in this browser. Nothing is sent anywhere: at the end ",
        "you save a file and hand it back.")),
    make("nav", {}, button(begun ? "Go on" : "Begin", () => go(firstOpen()), {
      id: "begin", class: "primary",
    }))));
}

function firstOpen() {
  const open = STEPS.findIndex((step) => !isDone(step));
  return open < 0 ? STEPS.length : open;
}

function showEnd() {
  const saved = make("p", { id: "saved", role: "status" });
  const save = () => {
    saved.textContent = `Saved as ${saveAnswers()}. Please send this file to whoever asked you.`;
  };
  main.append(make("article", {},
    make("h1", { tabindex: "-1" }, "That was all. Thank you!"),
    make("p", {}, "Save your answers as a file and send it to whoever asked you. It holds your ",
      "rankings and a random number, and nothing about you."),
    make("nav", {},
      button("Back", () => go(state.step - 1), { id: "back" }),
      button("Save my answers", save, { id: "save", class: "primary" })),
    saved,
    make("p", { class: "small" }, "Does somebody else want to answer in this browser? ",
      button("Start anew", startAnew, { id: "anew", class: "link" }))));
}

function startAnew() {
  if (!confirm("Forget these rankings and start anew? Save them first.")) return;
  state = begin();
  go(-1);
}

function saveAnswers() {
  const answers = STEPS.map((step) => ({
    question: step.question, pair: step.pair.pair, ranking: rankingOf(step),
  }));
  const text = JSON.stringify(
    { version: 1, survey: survey.survey, person: state.person, answers }, null, 1);
  const name = `answers-${state.person.slice(0, 8)}.json`;
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
  return name;
}

// --- moving ---

function go(step) {
  state.step = step;
  keep();
  show();
  main.querySelector("h1").focus({ preventScroll: true });
  scrollTo(0, 0);
}

function show() {
  const { step } = state;
  const done = STEPS.filter(isDone).length;
  const where = document.getElementById("place");
  const current = STEPS[step];
  where.textContent = current
    ? `${QUESTIONS[current.question].part} · pair ${current.index + 1} of ${survey.pairs.length}`
    : "Finished";
  document.querySelector("header").hidden = step < 0;
  const bar = document.getElementById("progress");
  bar.value = done / STEPS.length;
  bar.textContent = `${done} of ${STEPS.length}`;
  main.replaceChildren();
  if (current) showRanking(current);
  else if (step < 0) showIntroduction();
  else showEnd();
}

show();
