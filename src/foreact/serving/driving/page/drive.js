// Drives a world model: the server keeps moments, the page keeps the way to them.
const $ = (id) => document.getElementById(id);
const canvas = $("imagined");
const pen = canvas.getContext && canvas.getContext("2d");
const state = { about: null, way: [], at: 0, action: [], held: new Set(), pressed: false, playing: false, busy: false, times: [] };

function problem(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

async function ask(path, words) {
  const answer = await fetch(path, words && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(words) });
  if (answer.headers.get("Content-Type") === "video/mp4") return answer.blob();
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error);
  return told;
}

async function attempt(work) {
  if (state.busy) return false;
  state.busy = true;
  try {
    await work();
    problem("");
    return true;
  } catch (error) {
    state.playing = state.pressed = false;
    state.held.clear();
    problem(error instanceof TypeError ? "The server does not answer: is foreact drive still running?" : error.message);
    return false;
  } finally {
    state.busy = false;
    $("play").setAttribute("aria-pressed", state.playing);
  }
}

async function show(seen) {
  const picture = new Image();
  picture.src = seen.futures[0];
  await picture.decode();
  pen.imageSmoothingEnabled = true;
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if ($("tint").checked) tint(seen.unsure);
  drawTarget();
  if (seen.real) $("real").src = seen.real;
  const others = seen.futures.slice(1);
  while ($("others").children.length < others.length) $("others").append(new Image());
  others.forEach((source, k) => {
    const image = $("others").children[k];
    image.src = source;
    image.alt = `future ${k + 2}`;
  });
  const slider = $("moment");
  slider.max = state.way.length - 1;
  slider.value = state.at;
  slider.setAttribute("aria-valuetext", `after ${state.at} actions`);
}

function tint(unsure) {
  const [rows, columns] = [unsure.length, unsure[0].length];
  const [high, wide] = [canvas.height / rows, canvas.width / columns];
  unsure.forEach((line, row) => line.forEach((value, column) => {
    pen.fillStyle = `rgba(220, 38, 38, ${Math.min(0.6, value)})`;
    pen.fillRect(column * wide, row * high, wide, high);
  }));
}

// An action of two numbers that are places in the picture is drawn where it points.
const places = () => state.about.actions.length === 2 && state.about.actions.every((a) => /(^|_)(x|y)$/.test(a.name));

function drawTarget() {
  if (!places()) return;
  const [x, y] = state.action.map((value) => (value / state.about.side) * canvas.width);
  pen.strokeStyle = "#2563eb";
  pen.lineWidth = 2;
  pen.beginPath();
  pen.arc(x, y, 9, 0, 2 * Math.PI);
  pen.stroke();
}

function setAction(values) {
  state.action = values.map((value, k) => Math.min(state.about.actions[k].high, Math.max(state.about.actions[k].low, value)));
  state.action.forEach((value, k) => {
    const input = $("sliders").children[k].querySelector("input");
    input.value = value;
    input.nextElementSibling.textContent = value.toFixed(1);
  });
}

const start = (from) => attempt(async () => {
  const seen = await ask("start", from);
  state.from = from;
  state.way = [{ moment: seen.moment, seen, action: state.action, noise: 1 }];
  state.at = 0;
  await show(seen);
});

const step = () => attempt(async () => {
  const action = [...state.action], noise = Number($("noise").value);
  const seen = await ask("step", { moment: state.way[state.at].moment, actions: [action], noise });
  state.way.length = state.at + 1;
  state.way.push({ moment: seen.moment, seen, action, noise });
  state.at += 1;
  await show(seen);
  state.times.push(performance.now());
  state.times = state.times.slice(-20);
  const spent = state.times.at(-1) - state.times[0];
  if (state.times.length > 5) $("rate").textContent = `${((1000 * (state.times.length - 1)) / spent).toFixed(1)} frames/s`;
});

function goTo(at) {
  state.at = Math.max(0, Math.min(state.way.length - 1, at));
  setAction(state.way[state.at].action);
  show(state.way[state.at].seen);
}

function nudge() {
  const size = (k) => 0.03 * (state.about.actions[k].high - state.about.actions[k].low);
  const way = [0, 0];
  if (state.held.has("ArrowLeft")) way[0] -= 1;
  if (state.held.has("ArrowRight")) way[0] += 1;
  if (state.held.has("ArrowUp")) way[1] -= 1;
  if (state.held.has("ArrowDown")) way[1] += 1;
  setAction(state.action.map((value, k) => (k < 2 ? value + way[k] * size(k) : value)));
}

async function loop() {
  for (;;) {
    const begun = performance.now();
    if (state.held.size) nudge();
    const acts = state.playing || state.pressed || state.held.size;
    if (acts) await step();
    else state.times = [];
    await new Promise((done) => setTimeout(done, acts ? Math.max(0, 1000 / state.about.fps - (performance.now() - begun)) : 30));
  }
}

function point(event) {
  if (!places()) return;
  const box = canvas.getBoundingClientRect();
  setAction([(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height].map((share) => share * state.about.side));
}

function controls() {
  state.about.actions.forEach((action, k) => {
    const label = document.createElement("label");
    label.innerHTML = '<span></span><input type="range" step="any"><output></output>';
    label.querySelector("span").textContent = action.name;
    const input = label.querySelector("input");
    [input.min, input.max] = [action.low, action.high];
    input.addEventListener("input", () => setAction(state.action.map((value, n) => (n === k ? Number(input.value) : value))));
    $("sliders").append(label);
  });
  for (const { number, length } of state.about.episodes) $("episode").append(new Option(`${number} (${length} frames)`, number));
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); state.pressed = true; });
  canvas.addEventListener("pointermove", (event) => state.pressed && point(event));
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { state.pressed = false; });
  const play = () => { state.playing = !state.playing; $("play").setAttribute("aria-pressed", state.playing); };
  const again = () => start({ episode: Number($("episode").value), frame: Number($("frame").value), seed: Number($("seed").value) });
  $("play").addEventListener("click", play);
  $("undo").addEventListener("click", () => goTo(state.at - 1));
  $("restart").addEventListener("click", again);
  $("moment").addEventListener("input", () => goTo(Number($("moment").value)));
  $("tint").addEventListener("change", () => show(state.way[state.at].seen));
  for (const id of ["episode", "frame", "seed"]) $(id).addEventListener("change", again);
  $("film").addEventListener("click", () => attempt(film));
  $("share").addEventListener("click", share);
  document.addEventListener("keydown", (event) => {
    if (/^(INPUT|SELECT|BUTTON)$/.test(event.target.tagName)) return;
    if (event.key.startsWith("Arrow")) state.held.add(event.key);
    else if (event.key === " ") play();
    else if (event.key === "z") goTo(state.at - 1);
    else if (event.key === "r") again();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keyup", (event) => state.held.delete(event.key));
  window.addEventListener("blur", () => state.held.clear());
}

async function film() {
  const blob = await ask("film", { moment: state.way[state.at].moment });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = "drive.mp4";
  link.click();
  $("said").textContent = `saved a film of ${state.at + 1} pictures`;
}

async function share() {
  const way = state.way.slice(1, state.at + 1);
  const words = { ...state.from, actions: way.map((m) => m.action.map((x) => Number(x.toPrecision(6)))), noise: way.map((m) => m.noise) };
  location.hash = encodeURIComponent(JSON.stringify(words));
  try {
    await navigator.clipboard.writeText(location.href);
    $("said").textContent = "the link is in the clipboard";
  } catch {
    $("said").textContent = "the link is this page's address";
  }
}

async function open() {
  let words = { episode: state.about.episodes[0].number, frame: 0, seed: 0, actions: [], noise: [] };
  try {
    if (location.hash) words = { ...words, ...JSON.parse(decodeURIComponent(location.hash.slice(1))) };
  } catch {
    problem("The link is damaged: the drive begins at the first episode.");
  }
  const { episode, frame, seed } = words;
  [$("episode").value, $("frame").value, $("seed").value] = [episode, frame, seed];
  if (!(await start({ episode, frame, seed }))) return;
  for (const [k, action] of words.actions.entries()) {
    setAction(action);
    $("noise").value = words.noise[k] ?? 1;
    if (!(await step())) return;
  }
}

if (!pen) problem("This browser cannot draw on a canvas: open the page in another one.");
else {
  try {
    state.about = await ask("about");
    document.title = `foreact drive: ${state.about.title}`;
    $("real-view").hidden = !state.about.simulator;
    $("others-view").hidden = state.about.futures < 2;
    $("noise-row").hidden = state.about.futures < 2;
    controls();
    setAction(state.about.actions.map((action) => action.middle));
    await open();
    loop();
  } catch (error) {
    problem(`The page cannot begin: ${error.message}`);
  }
}
