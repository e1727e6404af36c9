// Ratings: every result gets points for its motion and for its appearance.
"use strict";

const RATED = {
  motion: { name: "Motion", text: "Does it move as the driving clip does?" },
  appearance: { name: "Appearance", text: "Is it the source’s character, whole and undistorted?" },
};
const SCALE = ["bad", "poor", "fair", "good", "excellent"];

// Points by result and by what is rated; what is missing is not rated yet.
function pointsOf({ pair }) {
  const given = (state.ratings[pair.pair] ??= {});
  for (const result of pair.rating) given[result] ??= {};
  return given;
}

function openRatings(step) {
  const given = pointsOf(step);
  return step.pair.rating.flatMap((result) =>
    survey.rated.filter((what) => given[result][what] === undefined)).length;
}

// Native radio buttons: Tab goes from row to row, the arrows and the digits choose.
function scale(step, result, what, letter) {
  const given = pointsOf(step)[result];
  const set = (points) => { given[what] = points; refresh(step); };
  const choices = Array.from({ length: survey.points }, (_, index) => {
    const points = index + 1;
    const input = make("input", {
      type: "radio", name: `${result}/${what}`, value: points, onchange: () => set(points),
      checked: given[what] === points, "aria-label": `${points}, ${SCALE[index] ?? points}`,
    });
    return make("label", { title: SCALE[index] ?? "" }, input,
      make("span", { "aria-hidden": "true" }, String(points)));
  });
  const onkeydown = (event) => {
    const input = choices[Number(event.key) - 1]?.querySelector("input");
    if (!input || event.ctrlKey || event.metaKey || event.altKey) return;
    input.checked = true;
    input.focus();
    set(Number(event.key));
  };
  return make("fieldset", { class: "scale", "data-what": what, onkeydown },
    make("legend", {}, RATED[what].name, make("i", {}, ` of result ${letter}`)), ...choices);
}

function ratedCard(step, result, index) {
  const letter = String.fromCharCode(65 + index);
  return make("li", { class: "card", "data-result": result, "data-letter": letter },
    make("div", { class: "shown" }, videoOf(result, `Result ${letter}`),
      make("span", { class: "badge", "aria-hidden": "true" }, letter)),
    ...survey.rated.map((what) => scale(step, result, what, letter)));
}

function refreshRating(step) {
  const given = pointsOf(step);
  for (const element of main.querySelectorAll(".card")) {
    const own = given[element.dataset.result];
    element.classList.toggle("ranked", survey.rated.every((what) => own[what] !== undefined));
  }
  const open = openRatings(step);
  const all = step.pair.rating.length * survey.rated.length;
  finishRefresh(open, open === all, open === 0 ? "All rated."
    : open === all ? `Give points in every row, from 1 (${SCALE[0]}) to ${survey.points} (${SCALE.at(-1)}).`
      : `${open} more ${open === 1 ? "row" : "rows"} to rate.`);
}

function clearRating(step) {
  for (const points of Object.values(pointsOf(step))) {
    for (const what of survey.rated) delete points[what];
  }
  for (const input of main.querySelectorAll("input:checked")) input.checked = false;
  refresh(step);
}

function ratingHead() {
  return make("div", { class: "ask" },
    make("h1", { tabindex: "-1" }, "How good is each result?"),
    ...survey.rated.map((what) =>
      make("p", {}, make("b", {}, `${RATED[what].name}: `), RATED[what].text)),
    make("p", {}, SCALE.map((word, index) => `${index + 1} ${word}`).join(", ")));
}

// Points by what is rated and by result, as they are saved.
function byWhat(given) {
  return Object.fromEntries(survey.rated.map((what) =>
    [what, Object.fromEntries(Object.entries(given).map(([result, own]) => [result, own[what]]))]));
}
