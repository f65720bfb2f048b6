/** The page for a person: a photo, a driver, and the photo doing what the driver does. */
import {Framing} from "/page/framing.js";
import {Session} from "/page/session.js";

const find = (id) => document.getElementById(id);
const label = "AI-generated";
const page = {session: null, photo: null, driver: null, video: find("video"), busy: false, frames: []};

/** Show a message, and whether it is one of something that went wrong. */
function say(text, wrong = false) {
  find("status").textContent = text;
  find("status").classList.toggle("wrong", wrong);
}

/** Run something that may fail, and say so where it does. */
const safely = (action) => async (...given) => {
  try {
    await action(...given);
  } catch (error) {
    say(String(error?.message ?? error), true);
  }
};

async function start() {
  const config = await (await fetch("/config.json")).json();
  say(`loading ${config.format}/${config.precision} …`);
  page.session = await Session.open(await (await fetch("/bundle/manifest.json")).json(), config);
  const {session} = page;
  for (const id of ["photo", "driver", "result"]) {
    Object.assign(find(id), {width: session.side, height: session.side});
  }
  page.photo = new Framing(find("photo"), find("photo-zoom"));
  page.photo.onchange = safely(newPhoto);
  page.driver = new Framing(find("driver"), find("driver-zoom"));
  page.driver.onchange = () => session.resetNeutral();
  find("runs").textContent = `${config.format}/${config.precision} in ${session.residency}`;
  offer("photos", config.photos, (url) => takePhoto(url));
  offer("drivers", config.drivers, (url) => playClip(url));
  document.body.dataset.ready = "yes";
  say("choose a photo, then a camera or a clip");
}

/** Make a button for each sample. */
function offer(id, urls, take) {
  for (const [number, url] of urls.entries()) {
    const button = document.createElement("button");
    button.textContent = `sample ${number + 1}`;
    button.addEventListener("click", safely(() => take(url)));
    find(id).append(button);
  }
}

async function takePhoto(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  page.photo.take(image);
}

/** Encode the framed photo; while one is encoded, the next change waits for its turn. */
async function newPhoto() {
  if (page.busy) {
    page.photoWaits = true;
    return;
  }
  page.busy = true;
  try {
    await page.session.setPhoto(page.photo.pixels());
  } finally {
    page.busy = false;
  }
  page.photo.show();
  say("move: the photo follows");
  if (page.photoWaits) {
    page.photoWaits = false;
    await newPhoto();
  }
}

async function playClip(url) {
  stopCamera();
  const {video} = page;
  // a clip of our own server is fetched whole, so that it can be rewound
  video.src = url.startsWith("blob:") ? url : URL.createObjectURL(await (await fetch(url)).blob());
  await play();
}

async function openCamera() {
  stopCamera();
  page.video.srcObject = await navigator.mediaDevices.getUserMedia({
    audio: false, video: {facingMode: "user", width: {ideal: 640}, height: {ideal: 480}}});
  await play();
}

function stopCamera() {
  page.video.srcObject?.getTracks().forEach((track) => track.stop());
  page.video.srcObject = null;
}

async function play() {
  await page.video.play();
  page.driver.take(page.video);
  page.session.resetNeutral();
  if (!page.session.hasPhoto) say("the driver is ready; choose a photo");
  if (!page.looping) safely(loop)();
}

/** Draw one frame after the other; a frame that came meanwhile is left out. */
async function loop() {
  page.looping = true;
  try {
    for (;;) {
      await nextFrame(page.video);
      if (page.session.hasPhoto && !page.busy) await drawFrame();
      else page.driver.show();
    }
  } finally {
    page.looping = false;
  }
}

const nextFrame = (video) => new Promise((done) => {
  if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(done);
  else requestAnimationFrame(done);
});

async function drawFrame() {
  page.busy = true;
  try {
    const pixels = page.driver.pixels();
    page.driver.show();
    draw(await page.session.step(pixels));
  } finally {
    page.busy = false;
  }
  count();
  if (page.photoWaits) await newPhoto();
}

/** Draw a result with its label, which is part of the picture: a copy of it has it too. */
function draw(image) {
  const canvas = find("result"), context = canvas.getContext("2d");
  context.putImageData(new ImageData(page.session.toPixels(image), canvas.width, canvas.height), 0, 0);
  const size = Math.max(9, Math.round(canvas.width / 18)), edge = Math.round(size / 2);
  context.font = `600 ${size}px system-ui, sans-serif`;
  const width = context.measureText(label).width + size;
  context.fillStyle = "rgb(0 0 0 / 0.65)";
  context.fillRect(canvas.width - width, canvas.height - size - edge, width, size + edge);
  context.fillStyle = "white";
  context.fillText(label, canvas.width - width + edge, canvas.height - edge);
  document.body.dataset.drawn = String(1 + Number(document.body.dataset.drawn ?? 0));
}

/** Show what a frame takes: the engine's medians, and pictures a second. */
function count() {
  const now = performance.now(), {session, frames} = page;
  frames.push(now);
  while (frames[0] < now - 2000) frames.shift();
  const [motion, render] = ["motion", "render"].map((graph) => session.median(graph));
  find("ms").textContent = (motion + render).toFixed(1);
  find("parts").textContent = `motion ${motion.toFixed(1)}, render ${render.toFixed(1)}`;
  find("rate").textContent = frames.length > 1
    ? (1000 * (frames.length - 1) / (now - frames[0])).toFixed(1) : "–";
}

find("photo-file").addEventListener("change", safely(async ({target}) => {
  if (target.files[0]) await takePhoto(URL.createObjectURL(target.files[0]));
}));
find("clip-file").addEventListener("change", safely(async ({target}) => {
  if (target.files[0]) await playClip(URL.createObjectURL(target.files[0]));
}));
find("camera").addEventListener("click", safely(openCamera));
find("neutral").addEventListener("click", () => page.session?.resetNeutral());
find("motion").addEventListener("change", ({target}) => {
  if (page.session) page.session.motion = target.value;
});

safely(start)();

export {page}; // for whoever looks inside
