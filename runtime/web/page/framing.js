/** Which square of a picture is used: dragged and zoomed on a canvas, no face detector needed.
 *
 * The oval says where a face belongs; the square keeps its place until somebody moves it.
 */
const MOST_ZOOM = 6;
const OVAL = {width: 0.42, height: 0.56, middle: 0.5}; // of the square, as the training clips are framed

export class Framing {
  /** Take a canvas to draw on and a range input for the zoom. */
  constructor(canvas, zoom) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", {willReadFrequently: true});
    this.zoom = zoom;
    this.center = {x: 0.5, y: 0.5}; // of the square, in shares of the source
    this.source = null; // an image, bitmap or video
    zoom.addEventListener("input", () => this.#changed());
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons & 1 && this.source) this.#drag(event);
    });
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  }

  onchange = () => {};

  /** Take another source, framed in its middle. */
  take(source) {
    this.source = source;
    this.center = {x: 0.5, y: 0.5};
    this.zoom.value = 1;
    this.#changed();
  }

  get size() {
    const {source} = this;
    return [source.videoWidth ?? source.width, source.videoHeight ?? source.height];
  }

  /** Return the square as RGBA pixels, as large as the canvas. */
  pixels() {
    const {canvas, context} = this;
    this.#paint();
    return context.getImageData(0, 0, canvas.width, canvas.height).data;
  }

  /** Draw the square, with the oval over it. */
  show() {
    this.#paint();
    const {canvas, context} = this;
    context.lineWidth = canvas.width / 128;
    context.strokeStyle = "rgb(255 255 255 / 0.7)";
    context.beginPath();
    context.ellipse(canvas.width * OVAL.middle, canvas.height * OVAL.middle,
      canvas.width * OVAL.width / 2, canvas.height * OVAL.height / 2, 0, 0, 2 * Math.PI);
    context.stroke();
  }

  #paint() {
    const [width, height] = this.size;
    const side = Math.min(width, height) / Math.min(MOST_ZOOM, Number(this.zoom.value));
    const left = inside(this.center.x * width - side / 2, width - side);
    const top = inside(this.center.y * height - side / 2, height - side);
    this.context.drawImage(this.source, left, top, side, side, 0, 0, this.canvas.width, this.canvas.height);
  }

  #drag({movementX, movementY}) {
    const [width, height] = this.size;
    const side = Math.min(width, height) / Number(this.zoom.value);
    const scale = side / this.canvas.clientWidth;
    const edges = {x: side / 2 / width, y: side / 2 / height};
    this.center.x = edges.x + inside(this.center.x - movementX * scale / width - edges.x, 1 - 2 * edges.x);
    this.center.y = edges.y + inside(this.center.y - movementY * scale / height - edges.y, 1 - 2 * edges.y);
    this.#changed();
  }

  #changed() {
    if (!this.source) return;
    this.show();
    this.onchange();
  }
}

const inside = (value, most) => Math.min(Math.max(value, 0), most);
