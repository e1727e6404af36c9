// The survey: shows pair after pair, keeps the answers in this browser, saves them as a file.
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
// Rankings by question first, then, without a question, the ratings.
const STEPS = [...survey.questions, ...(survey.rated.length ? [null] : [])].flatMap((question) =>
  survey.pairs.map((pair, index) => ({ question, pair, index })),
);
const STORE = `survey-${survey.survey}`;
const main = document.getElementById("main");

// --- state ---

// `step` is -1 before the first ranking and STEPS.length after the last. A ranking has one place
// per result, best first; null where nothing stands yet. `ratings` are those of rating.js.
function begin() {
  const bytes = crypto.getRandomValues(new Uint8Array(9));
  const person = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { person, turn: bytes[8], step: -1, rankings: {}, ratings: {} };
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
  if (step.question === null) return openRatings(step) === 0;
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
  const watched = step.question === null || QUESTIONS[step.question].compare === role;
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

// Brings badges, buttons and the status line up to date with the answers; clips play on.
function refresh(step) {
  if (step.question === null) refreshRating(step);
  else refreshRanking(step);
}

function refreshRanking(step) {
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
  finishRefresh(open, open === ranking.length, open === 0 ? "All ranked."
    : open === ranking.length ? `Click the results from best (1) to worst (${open}).`
      : `${open} more to rank.`);
}

function finishRefresh(open, untouched, status) {
  const broken = main.querySelector(".broken") !== null; // nobody judges what they have not seen
  main.querySelector("#status").textContent = broken
    ? "This browser cannot play a clip. Please try another one." : status;
  main.querySelector("#next").disabled = broken || open > 0;
  main.querySelector("#clear").disabled = untouched;
  main.querySelector("#unsaved").hidden = keep();
}

function showStep(step) {
  const { pair, question } = step;
  const rates = question === null;
  const results = inTurn(rates ? pair.rating : pair[question]);
  const clear = () => { rankingOf(step).fill(null); refresh(step); };
  const head = rates ? ratingHead() : make("div", { class: "ask" },
    make("h1", { tabindex: "-1" }, QUESTIONS[question].text), make("p", {}, QUESTIONS[question].hint));
  main.append(
    head,
    make("div", { class: "stage" },
      make("section", { class: "references", "aria-label": "Given clips" },
        reference("source", pair.source, step), reference("driving", pair.driving, step)),
      make("ol", { class: "results", "aria-label": "Results" },
        ...results.map((result, index) => (rates ? ratedCard : card)(step, result, index)))),
    make("nav", {},
      button("Back", () => go(state.step - 1), { id: "back" }),
      button(rates ? "Clear points" : "Clear ranks", rates ? () => clearRating(step) : clear,
        { id: "clear" }),
      button("Start clips together", startTogether, { id: "together" }),
      make("p", { id: "status", role: "status" }),
      button("Next", () => go(state.step + 1), { id: "next", class: "primary" })),
    make("p", { id: "unsaved", hidden: true },
      "This browser keeps no progress: please finish without closing the page."),
  );
  refresh(step);
  startTogether();
}

function firstOpen() {
  const open = STEPS.findIndex((step) => !isDone(step));
  return open < 0 ? STEPS.length : open;
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
    ? `${QUESTIONS[current.question]?.part ?? "Points"} · pair ${current.index + 1} of ${survey.pairs.length}`
    : "Finished";
  document.querySelector("header").hidden = step < 0;
  const bar = document.getElementById("progress");
  bar.value = done / STEPS.length;
  bar.textContent = `${done} of ${STEPS.length}`;
  main.replaceChildren();
  if (current) showStep(current);
  else if (step < 0) showIntroduction();
  else showEnd();
}

show();
