// The first page, which explains, and the last, which saves the answers.
"use strict";

function showIntroduction() {
  const count = survey.pairs.length;
  const pairs = count === 1 ? "one pair of clips" : `${count} pairs of clips`;
  const begun = Object.values(state.rankings).flat().some((result) => result !== null)
    || Object.values(state.ratings).flatMap(Object.values).some((row) => Object.keys(row).length);
  const ranks = survey.questions.length > 0, rates = survey.rated.length > 0;
  main.append(make("article", {},
    make("h1", { tabindex: "-1" }, survey.title),
    make("p", {}, "The character of a ", make("b", {}, "source"), " clip was made to move as in a ",
      make("b", {}, "driving"), " clip, in several ways. You will see the results side by side and ",
      [ranks && "rank them from best to worst", rates && `give each points from 1 to ${survey.points}`]
        .filter(Boolean).join(", then "), "."),
    make("ol", {},
      ...survey.questions.map((name) => make("li", {},
        make("b", {}, `${QUESTIONS[name].part}: `), `${pairs}. ${QUESTIONS[name].text}`)),
      ...(rates ? [make("li", {}, make("b", {}, "Points: "), `${pairs}. How good is each result?`)] : [])),
    make("ul", {},
      ...(ranks ? rankingHelp() : []),
      ...(rates ? [make("li", {}, "Points are for each result by itself: several may have the same. ",
        "With the keyboard: Tab moves from row to row, a digit gives the points.")] : []),
      make("li", {}, "Your progress is kept in this browser. Nothing is sent anywhere: at the end ",
        "you save a file and hand it back.")),
    make("nav", {}, button(begun ? "Go on" : "Begin", () => go(firstOpen()), {
      id: "begin", class: "primary",
    }))));
}

function rankingHelp() {
  return [
    make("li", {}, "Click the results from best to worst; click again to take a rank back. The ",
      "numbers below a clip give it that rank at once."),
    make("li", {}, "With the keyboard: Tab moves from clip to clip, Enter ranks, and a digit ",
      "gives that rank."),
    make("li", {}, "There are no ties: where two seem equal, go by your first impression."),
  ];
}

function showEnd() {
  const saved = make("p", { id: "saved", role: "status" });
  const save = () => {
    saved.textContent = `Saved as ${saveAnswers()}. Please send this file to whoever asked you.`;
  };
  main.append(make("article", {},
    make("h1", { tabindex: "-1" }, "That was all. Thank you!"),
    make("p", {}, "Save your answers as a file and send it to whoever asked you. It holds your ",
      "judgements and a random number, and nothing about you."),
    make("nav", {},
      button("Back", () => go(state.step - 1), { id: "back" }),
      button("Save my answers", save, { id: "save", class: "primary" })),
    saved,
    make("p", { class: "small" }, "Does somebody else want to answer in this browser? ",
      button("Start anew", startAnew, { id: "anew", class: "link" }))));
}

function startAnew() {
  if (!confirm("Forget these answers and start anew? Save them first.")) return;
  state = begin();
  go(-1);
}

function saveAnswers() {
  const answers = STEPS.filter((step) => step.question !== null).map((step) => ({
    question: step.question, pair: step.pair.pair, ranking: rankingOf(step),
  }));
  const ratings = STEPS.filter((step) => step.question === null).map((step) => ({
    pair: step.pair.pair, points: byWhat(pointsOf(step)),
  }));
  const text = JSON.stringify(
    { version: 1, survey: survey.survey, person: state.person, answers, ratings }, null, 1);
  const name = `answers-${state.person.slice(0, 8)}.json`;
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  make("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
  return name;
}
