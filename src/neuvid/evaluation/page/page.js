"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const MEAN = "Mean of all clips";
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "cross", "star", "x"];
const at = id => document.getElementById(id);
const colour = codec => COLOURS[data.codecs.indexOf(codec) % COLOURS.length];
const symbol = codec => SYMBOLS[data.codecs.indexOf(codec) % SYMBOLS.length];
const curveOf = (clip, codec) => data.curves.find(c => c.clip === clip && c.codec === codec);
const fixed = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
const signed = (value, digits) => (value > 0 ? "+" : "") + fixed(value, digits);
const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;

function make(tag, text = "", className = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = className;
  return element;
}

function fill(id, rows, head) {
  const table = at(id);
  table.replaceChildren();
  const top = table.createTHead().insertRow();
  head.forEach(text => top.append(make("th", text)));
  const body = table.createTBody();
  rows.forEach(row => body.append(row));
}

function row(cells, className = "") {
  const element = make("tr", "", className);
  cells.forEach(cell => element.append(cell instanceof Node ? cell : make("td", cell)));
  return element;
}

function options(id, entries, changed) {
  at(id).replaceChildren(...entries.map(([value, text]) => {
    const option = make("option", text);
    option.value = value;
    return option;
  }));
  if (changed) at(id).onchange = changed;
}

function shownClip() {  // plots by frame and pictures show one clip
  return at("clip").value === MEAN ? data.clips[0]?.name : at("clip").value;
}

function draw(id, traces, x, y) {
  const style = getComputedStyle(document.documentElement);
  const [text, line] = ["--text", "--line"].map(name => style.getPropertyValue(name).trim());
  const axis = {gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true};
  Plotly.react(id, traces, {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: {color: text},
    margin: {l: 48, r: 8, t: 8, b: 40}, legend: {orientation: "h", y: -0.18},
    xaxis: {...axis, ...x}, yaxis: {...axis, ...y}, hovermode: "closest",
  }, {responsive: true, displaylogo: false, displayModeBar: false});
}

function sameConditions(a, b) {
  return ["delay", "intra_period", "frames", "size", "pixel_format"]
    .every(name => a.conditions[name] === b.conditions[name]);
}

// Curves of other conditions than the anchor's are never drawn beside it.
function comparableCurves() {
  const clip = at("clip").value, anchor = at("anchor").value;
  const all = clip === MEAN ? data.means : data.curves.filter(curve => curve.clip === clip);
  const isComparable = codec => data.clips
    .filter(entry => clip === MEAN || entry.name === clip)
    .map(entry => [curveOf(entry.name, anchor), curveOf(entry.name, codec)])
    .every(([one, other]) => !one || !other || sameConditions(one, other));
  const kept = all.filter(curve => isComparable(curve.codec));
  const apart = data.codecs.filter(codec => !kept.some(curve => curve.codec === codec));
  at("apart").textContent = apart.length
    ? `Not drawn, for lack of points or because of other conditions: ${apart.join(", ")}.` : "";
  return kept;
}

function drawCurves() {
  const metric = at("metric").value, {label, unit} = data.metrics[metric];
  const traces = comparableCurves().map(curve => {
    const points = curve.points.filter(point => metric in point.metrics);
    return {
      name: curve.codec, mode: "lines+markers", line: {color: colour(curve.codec)},
      marker: {symbol: symbol(curve.codec), size: 8},
      x: points.map(point => point.bits_per_pixel), y: points.map(point => point.metrics[metric]),
      text: points.map(point => point.setting),
      hovertemplate: "%{text}<br>%{x:.4f} bits per pixel<br>%{y:.3f}<extra>%{fullData.name}</extra>",
    };
  });
  draw("curves", traces, {title: {text: "bits per pixel"}, type: "log"},
    {title: {text: `${label} [${unit}]`}});
}

function differenceCell(delta) {
  if (!delta) return make("td", "");
  if (delta.refusal) {
    const cell = make("td", "none");
    cell.append(make("small", delta.refusal));
    return cell;
  }
  const gain = delta.gain === null ? "" : ` (${signed(delta.gain)})`;
  const cell = make("td", `${signed(delta.rate, 1)} %${gain}`, delta.rate < 0 ? "better" : "worse");
  if (delta.overlap) {
    cell.append(make("small", `${fixed(delta.overlap.low, 1)}–${fixed(delta.overlap.high, 1)}`));
  }
  return cell;
}

function meanCell({rate, gain, count}) {
  if (!count) return make("td", "none");
  const cell = differenceCell({rate, gain});
  cell.append(make("small", `of ${count} of ${data.clips.length}`));
  return cell;
}

function drawDifferences() {
  const byCodec = data.differences[at("metric").value]?.[at("anchor").value] ?? {};
  const codecs = Object.keys(byCodec);
  const rows = data.clips.map(({name}) =>
    row([name, ...codecs.map(codec => differenceCell(byCodec[codec].clips[name]))]));
  rows.push(row(["Mean", ...codecs.map(codec => meanCell(byCodec[codec].mean))], "mean"));
  fill("differences", rows, [`against ${at("anchor").value}`, ...codecs]);
}

function nearest(curve, rate) {
  const distance = point => Math.abs(Math.log(point.bits_per_pixel / rate));
  return curve.points.reduce((best, point) => distance(point) < distance(best) ? point : best);
}

function rateText(point) {
  return `${point.setting}: ${point.bits_per_pixel.toFixed(4)} bits per pixel`;
}

function offerRates() {
  const first = data.curves.find(curve => curve.clip === shownClip() && curve.points[0].key);
  const points = first ? first.points : [];
  options("rate", points.map((p, i) => [i, `${first.codec} ${rateText(p)}`]), drawFrames);
  at("rate").value = Math.floor(points.length / 2);
}

function drawFrames() {
  const metric = at("metric").value === "vmaf" ? "vmaf" : "psnr";
  const curves = data.curves.filter(curve => curve.clip === shownClip());
  const first = curves.find(curve => curve.points[0].key);
  const target = first?.points[at("rate").value];
  const traces = !target ? [] : curves.map(curve => [curve, nearest(curve, target.bits_per_pixel)])
    .filter(([, point]) => point.by_frame[metric])
    .map(([curve, point]) => ({
      name: `${curve.codec} ${rateText(point)}`, mode: "lines", y: point.by_frame[metric],
      line: {color: colour(curve.codec), width: 1.5},
    }));
  const {label, unit} = data.metrics[metric] ?? {label: "", unit: ""};
  draw("frames", traces, {title: {text: `frame of ${shownClip()}`}},
    {title: {text: `${label} [${unit}]`}});
}

function pictureEntry() {
  return data.pictures.find(entry => entry.clip === shownClip());
}

function offerPictures() {
  const entry = pictureEntry();
  const names = entry && entry.codecs.length ? ["Source", ...entry.codecs] : ["Source"];
  options("left", names.map(name => [name, name]), showPictures);
  options("right", names.map(name => [name, name]), showPictures);
  at("left").value = names[Math.min(2, names.length - 1)];
  at("right").value = names[Math.min(1, names.length - 1)];
  const rates = entry ? entry.rates : [];
  options("picture-rate", rates.map((points, i) => [i, rateText(points[0])]), showPictures);
  at("picture-rate").value = Math.floor(rates.length / 2);
  showPictures();
}

function showPictures() {
  const entry = pictureEntry();
  if (!entry) return;
  const texts = ["left", "right"].map(side => {
    const name = at(side).value;
    if (name === "Source") {
      at(`${side}-picture`).src = entry.source;
      return "source";
    }
    const point = entry.rates[at("picture-rate").value][entry.codecs.indexOf(name)];
    at(`${side}-picture`).src = entry.files[point.key];
    return `${name}, ${rateText(point)}, ${fixed(point.psnr)} dB over the clip`;
  });
  at("pair-text").textContent = `Left: ${texts[0]}. Right: ${texts[1]}.`;
  resizePictures();
}

function resizePictures() {
  const zoom = Number(at("zoom").value), clip = data.clips.find(c => c.name === shownClip());
  at("stage").style.width = zoom && clip ? `${zoom * clip.width / devicePixelRatio}px` : "100%";
  at("stage").classList.toggle("enlarged", zoom > 1);
  moveDivider(at("slider").value / 1000);
}

function moveDivider(share) {
  const place = `${100 * share}%`;
  at("divider").style.left = place;
  at("right-picture").style.clipPath = `inset(0 0 0 ${place})`;
}

function listenToDivider() {
  at("slider").oninput = () => moveDivider(at("slider").value / 1000);
  at("divider").onpointerdown = event => at("divider").setPointerCapture(event.pointerId);
  at("divider").onpointermove = event => {
    if (!at("divider").hasPointerCapture(event.pointerId)) return;
    const box = at("stage").getBoundingClientRect();
    const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    at("slider").value = 1000 * share;
    moveDivider(share);
  };
}

// Mean over the clips of what `value` says of each; null where one of them lacks it.
function overClips(codec, value) {
  const values = data.curves.filter(curve => curve.codec === codec).map(value);
  return values.length && values.every(v => v !== null && isFinite(v)) ? mean(values) : null;
}

function overPoints(curve, value) {
  const values = curve.points.map(value);
  return values.every(v => v !== null && isFinite(v)) ? mean(values) : null;
}

function framesPerSecond(codec, name) {
  return overClips(codec, curve => overPoints(curve,
    point => point[name] === null ? null : curve.conditions.frames / point[name]));
}

function drawFacts() {
  const text = (value, digits) => value === null ? "–" : fixed(value, digits);
  const rows = data.codecs.map(codec => {
    const metric = at("metric").value;
    const ends = [0, -1].map(place =>
      overClips(codec, curve => curve.points.at(place).metrics[metric] ?? null));
    const share = overClips(codec, curve => overPoints(curve,
      p => p.file_bytes === null ? null : 100 * p.container_bytes / p.file_bytes));
    const memory = name => {
      const peaks = data.curves.filter(c => c.codec === codec).flatMap(c => c.points.map(p => p[name]));
      return peaks.length && !peaks.includes(null) ? Math.max(...peaks) / 2 ** 20 : null;
    };
    return row([codec, `${text(ends[0], 1)} to ${text(ends[1], 1)}`,
      ends.includes(null) ? "–" : text(ends[1] - ends[0], 1), text(share, 1),
      text(framesPerSecond(codec, "encode_seconds"), 1),
      text(framesPerSecond(codec, "decode_seconds"), 1),
      text(memory("encode_peak_bytes"), 0), text(memory("decode_peak_bytes"), 0)]);
  });
  fill("facts", rows, ["", data.metrics[at("metric").value].label, "range", "container %",
    "encode frames/s", "decode frames/s", "encode MiB", "decode MiB"]);
}

function drawSpeed() {
  const byCodec = data.differences[at("metric").value]?.[at("anchor").value] ?? {};
  const traces = data.codecs.map(codec => {
    const rate = codec === at("anchor").value ? 0 : byCodec[codec]?.mean.rate ?? null;
    const speeds = ["encode_seconds", "decode_seconds"].map(n => framesPerSecond(codec, n));
    return {
      name: codec, mode: "markers", x: speeds, y: [rate, rate], text: ["encode", "decode"],
      marker: {color: colour(codec), size: 11, symbol: ["circle", "circle-open"]},
      hovertemplate: "%{text}: %{x:.1f} frames/s<br>%{y:.1f} %<extra>%{fullData.name}</extra>",
    };
  }).filter(trace => trace.x.every(speed => speed !== null) && trace.y[0] !== null);
  at("speed").hidden = !traces.length;
  at("untimed").hidden = Boolean(traces.length);
  if (traces.length) {
    draw("speed", traces, {title: {text: "frames per second (full: encode, open: decode)"}, type: "log"},
      {title: {text: `bits against ${at("anchor").value} [%]`}});
  }
}

function kilobits(curve, point) {
  const clip = data.clips.find(entry => entry.name === curve.clip);
  if (!clip) return "–";
  return fixed(point.bits_per_pixel * clip.width * clip.height * clip.frame_rate / 1000, 1);
}

function drawPoints() {
  const metrics = Object.keys(data.metrics), clip = at("clip").value;
  const curves = clip === MEAN ? data.means : data.curves.filter(curve => curve.clip === clip);
  const rows = curves.flatMap(curve => curve.points.map(point => row([
    `${curve.codec} ${point.setting}`, point.bits_per_pixel.toFixed(4), kilobits(curve, point),
    point.file_bytes ?? "–", point.container_bytes ?? "–",
    ...metrics.map(name => name in point.metrics
      ? fixed(point.metrics[name], name === "ms_ssim" ? 4 : 2) : "–"),
  ])));
  fill("points", rows, [clip, "bits/pixel", "kbit/s", "bytes", "of container",
    ...metrics.map(name => data.metrics[name].label)]);
}

function listCommands() {
  const list = at("commands");
  data.codecs.forEach(codec => {
    const curve = data.curves.find(entry => entry.codec === codec), point = curve.points[0];
    const {delay, intra_period, frames, size, pixel_format} = curve.conditions;
    const threads = curve.threads === null ? "" : `, threads: ${curve.threads}`;
    list.append(make("dt", codec), make("dd", curve.version.split(" Copyright")[0]), make("dd",
      `${delay}, intra period ${intra_period}, ${frames} frames of ${size} ${pixel_format}${threads}`));
    [point.encode_command, point.decode_command].filter(Boolean).forEach(command => {
      const entry = make("dd");
      entry.append(make("code", command));
      list.append(entry);
    });
  });
}

function drawAll() {
  drawCurves();
  drawDifferences();
  offerRates();
  drawFrames();
  offerPictures();
  drawFacts();
  drawSpeed();
  drawPoints();
}

function start() {
  const clips = data.clips.map(clip => clip.name);
  const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
  at("summary").textContent = `${count(clips.length, "clip")}, ${count(data.codecs.length, "codec")}. `
    + `${data.date}, ${data.machine}, ${data.ffmpeg.split(" Copyright")[0]}.`;
  at("problems").hidden = !data.failures.length;
  at("failures").replaceChildren(...data.failures.map(({clip, codec, reason}) =>
    make("li", [clip, codec, reason].filter(Boolean).join(": "))));
  if (!data.curves.length) return;
  const choices = clips.length > 1 ? [MEAN, ...clips] : clips;
  options("clip", choices.map(name => [name, name]), drawAll);
  options("metric", Object.entries(data.metrics).map(([key, {label}]) => [key, label]), drawAll);
  options("anchor", data.codecs.map(name => [name, name]), drawAll);
  at("anchor").value = data.codecs[Math.min(1, data.codecs.length - 1)];
  at("zoom").onchange = resizePictures;
  listenToDivider();
  listCommands();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();
}

start();
