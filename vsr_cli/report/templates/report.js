"use strict";
// Texts from stories are set as text, never as HTML.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("storyboards").textContent);
  const boards = data.windows;
  const AT_ONCE = 8;

  const gallery = byId("gallery");
  const [search, order, metric, story] = ["search", "order", "metric", "story"].map(byId);
  let shown = [];
  let cards = [];
  let current = -1;

  function make(tag, className, text) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function frame(kind, label, image, fill) {
    const box = make("div", `frame ${kind}`);
    box.append(make("b", "", label));
    if (image === null) {
      box.append(make("div", "none", "no image"));
    } else {
      const element = make("img");
      element.decoding = "async";
      element.alt = label;
      element.src = `data:image/webp;base64,${data.images[image]}`;
      box.append(element);
    }
    const text = make("span", "text");
    fill(text);
    text.dir = "auto";
    const language = languageOf(text.textContent);
    if (language) text.lang = language;
    box.append(text);
    return box;
  }

  // The language of a text, guessed from its script: fonts, line breaks and speech depend on it.
  const LANGUAGES = [
    ["ja", /[\p{Script=Hiragana}\p{Script=Katakana}]/u], ["ko", /\p{Script=Hangul}/u], ["zh", /\p{Script=Han}/u],
    ["ar", /\p{Script=Arabic}/u], ["he", /\p{Script=Hebrew}/u], ["hi", /\p{Script=Devanagari}/u],
    ["bn", /\p{Script=Bengali}/u], ["ta", /\p{Script=Tamil}/u], ["te", /\p{Script=Telugu}/u],
    ["th", /\p{Script=Thai}/u], ["lo", /\p{Script=Lao}/u], ["km", /\p{Script=Khmer}/u], ["my", /\p{Script=Myanmar}/u],
    ["am", /\p{Script=Ethiopic}/u], ["ka", /\p{Script=Georgian}/u], ["hy", /\p{Script=Armenian}/u],
    ["el", /\p{Script=Greek}/u],
  ];
  function languageOf(text) {
    const letters = text.match(/\p{L}/gu) ?? [];
    const found = LANGUAGES.find(([, script]) => script.test(text));
    if (!found) return "";
    const own = found[0] === "ja" ? /[\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Han}]/u : found[1];
    return 2 * letters.filter((letter) => own.test(letter)).length > letters.length ? found[0] : "";
  }

  const plain = (words) => (into) => into.append(words);
  const marked = (stretches, kind) => (into) => {
    let first = true;
    stretches.forEach((words, index) => {
      if (!words) return;
      if (!first) into.append(" ");
      into.append(index % 2 ? make("span", kind, words) : words);
      first = false;
    });
  };

  function draw(board) {
    const card = make("article", "board");
    card.tabIndex = -1;
    const title = make("h3", "", board.story);
    title.dir = "auto";
    title.append(make("span", "", `frames ${board.start + 1} to ${board.start + board.context.length + 1}`));
    for (const name of Object.keys(data.metrics)) {
      if (name in board.scores) title.append(make("span", "", `${name} ${+board.scores[name].toPrecision(3)}`));
    }
    const context = make("div", "context");
    context.style.setProperty("--columns", Math.min(4, board.context.length));
    board.context.forEach(([image, text], k) =>
      context.append(frame("", `frame ${board.start + 1 + k}`, image, plain(text))));
    const targets = make("div", "targets");
    targets.append(
      frame("truth", "actual", board.truth[0], marked(board.truth[1], "missed")),
      frame("predicted", "predicted", board.predicted[0], marked(board.predicted[1], "wrong")),
      frame("copied", "copy-last", board.copied[0], marked(board.copied[1], "wrong")));
    const frames = make("div", "frames");
    frames.append(context, targets);
    card.append(title, frames);
    return card;
  }

  function drawUpTo(count) {
    while (cards.length < Math.min(count, shown.length)) {
      const position = cards.length;
      const card = draw(shown[position]);
      card.addEventListener("click", () => choose(position, false));
      cards.push(card);
      gallery.append(card);
    }
  }

  function choose(position, move) {
    if (!shown.length) return;
    const chosen = Math.max(0, Math.min(position, shown.length - 1));
    drawUpTo(chosen + 2);
    if (cards[current]) cards[current].classList.remove("current");
    current = chosen;
    cards[current].classList.add("current");
    if (move) {
      cards[current].focus({ preventScroll: true });
      cards[current].scrollIntoView({ block: "start" });
    }
    updateCount();
  }

  function updateCount() {
    byId("count").textContent = `${current < 0 ? "" : `${current + 1} / `}${shown.length}`;
  }

  function shuffled(list) {
    // The same order each time the page is opened, so that people can refer to positions.
    let state = 20240229;
    const random = () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state / 4294967296;
    };
    const mixed = list.slice();
    for (let i = mixed.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
    }
    return mixed;
  }

  function sorted(list) {
    if (order.value === "random") return shuffled(list);
    const name = metric.value;
    if (order.value === "story" || !name) return list;
    const badness = {
      higher: (score) => -score,
      lower: (score) => score,
      one: (score) => Math.abs(score - 1),
    }[data.metrics[name]];
    const scored = list.filter((board) => name in board.scores);
    const best = scored.sort((a, b) => badness(a.scores[name]) - badness(b.scores[name]));
    if (order.value === "worst") best.reverse();
    if (order.value === "median" && best.length) {
      const middle = best[Math.floor((best.length - 1) / 2)].scores[name];
      const distance = (board) => Math.abs(board.scores[name] - middle);
      best.sort((a, b) => distance(a) - distance(b));
    }
    return best.concat(list.filter((board) => !(name in board.scores)));
  }

  function words(board) {
    board.words ??= [
      board.story, ...board.context.map(([, text]) => text), ...board.truth[1], ...board.predicted[1],
    ].join(" ").toLowerCase();
    return board.words;
  }

  function show() {
    const wanted = search.value.normalize("NFC").toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (board) =>
      (!story.value || board.story === story.value) && wanted.every((word) => words(board).includes(word));
    metric.disabled = order.value === "random" || order.value === "story";
    shown = sorted(boards.filter(fits));
    cards = [];
    current = -1;
    gallery.replaceChildren();
    if (!shown.length) gallery.append(make("p", "nothing", "No window matches."));
    drawUpTo(AT_ONCE);
    watchEnd();
    updateCount();
  }

  for (const name of Object.keys(data.metrics)) metric.append(new Option(`by ${name}`, name));
  metric.hidden = !metric.options.length;
  for (const name of new Set(boards.map((board) => board.story))) {
    const option = new Option(name, name);
    option.dir = "auto";
    story.append(option);
  }
  for (const control of [order, metric, story]) control.addEventListener("change", show);
  search.addEventListener("input", show);
  byId("previous").addEventListener("click", () => choose(current - 1, true));
  byId("next").addEventListener("click", () => choose(current + 1, true));
  byId("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "Escape") event.target.blur();
    if (typing) return;
    const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
    if (step) choose(current + step, true);
    else if (event.key === "/") search.focus();
    else return;
    event.preventDefault();
  });
  const nearEnd = new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting) && cards.length < shown.length) {
      drawUpTo(cards.length + AT_ONCE);
      watchEnd();
    }
  }, { rootMargin: "1200px" });
  function watchEnd() {
    nearEnd.disconnect(); // an end that stays in sight is reported only once
    nearEnd.observe(byId("end"));
  }
  if (metric.options.length) order.value = "best";
  show();
})();
