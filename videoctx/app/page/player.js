// The chosen video: a file, an example, a web address or the webcam; and the player.

import { Cancelled, addSource, run, upload } from "./server.js";
import { clock, errorLine, find, make } from "./elements.js";

const LONGEST_RECORDING_MS = 60000;

// Dispatches "video" when one is chosen, with the tab that shows it, if that is not the open one; "length" as soon as the
// player has opened it; and "time" as the player moves.
export class Player extends EventTarget {
  constructor(state) {
    super();
    this.video = null; // { id, name }
    this.isOpen = false; // whether its length is known, or cannot be
    this.measured = null; // seconds, of a recording: its file does not state them
    this.wanted = null; // the time of the next still
    this.fetching = false;
    this.screen = find("#player video");
    this.stills = find("#stills");
    this.note = find("#note");
    this.controller = new AbortController();
    this.screen.addEventListener("timeupdate", () => this.dispatchEvent(new Event("time")));
    this.screen.addEventListener("seeking", () => this.dispatchEvent(new Event("time")));
    this.screen.addEventListener("loadedmetadata", () => this.screen.srcObject || this.opened());
    this.screen.addEventListener("error", () => this.screen.getAttribute("src") && this.showStills(this.video.start ?? 0));
    find("#fps").addEventListener("change", () => {
      if (!find("#fps").reportValidity() || !this.fps) return;
      this.showStills(this.video.start ?? 0);
      this.dispatchEvent(new Event("video"));
    });
    find("input", this.stills).addEventListener("input", (event) => this.seek(Number(event.target.value)));
    this.takeFiles(state.max_upload_bytes);
    this.takeExamples(state.examples);
    find("#url-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const url = find("#url").value.trim();
      if (url) this.open({ url }, url);
    });
    find("#record").addEventListener("click", () => this.record());
  }

  // What a job needs to know of the video. `fps`: of images, which state none.
  get asked() {
    return { video: this.video?.id, fps: this.fps };
  }

  get fps() {
    return this.video?.of_images ? Number(find("#fps").value) : null;
  }

  get time() {
    return this.stills.hidden ? this.screen.currentTime : Number(find("input", this.stills).value);
  }

  // The seconds of the video, or of its segment.
  get duration() {
    const found = this.stills.hidden ? this.screen.duration : Number(find("input", this.stills).max);
    const whole = Number.isFinite(found) && found > 0 ? found : this.measured;
    const { start, end } = this.video ?? {};
    return (end || whole) && Math.min(end || whole, whole || end) - (start || 0);
  }

  get isShown() {
    return !find("#player").hidden;
  }

  opened() {
    this.isOpen = true;
    this.dispatchEvent(new Event("length"));
  }

  seek(seconds) {
    if (this.stills.hidden) {
      this.screen.currentTime = seconds;
    } else {
      find("input", this.stills).value = seconds;
      this.showStills(seconds);
    }
    this.dispatchEvent(new Event("time"));
  }

  takeFiles(mostBytes) {
    const take = (file) => {
      if (!file) return;
      if (file.size > mostBytes) this.fail(new Error(`${file.name} has ${(file.size / 1e9).toFixed(1)} GB; expected at most ${mostBytes / 1e9} GB`));
      else this.send(file, file.name);
    };
    const input = find("#file");
    input.addEventListener("change", () => {
      take(input.files[0]);
      input.value = ""; // the same file may be chosen again
    });
    let depth = 0;
    const mark = (change) => {
      depth = Math.max(0, depth + change);
      document.body.classList.toggle("dropping", depth > 0);
    };
    addEventListener("dragenter", () => mark(1));
    addEventListener("dragleave", () => mark(-1));
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      mark(-depth);
      if (event.dataTransfer.items[0]?.webkitGetAsEntry?.()?.isDirectory) this.fail(new Error("A folder was dropped; expected a video, or a .zip or .tar file of its frames"));
      else take(event.dataTransfer.files[0]);
    });
  }

  takeExamples(examples) {
    if (!examples.length) return;
    find("#example-field").hidden = false;
    const select = find("#example");
    examples.forEach(({ name, label }, index) => select.append(make("option", { value: index, text: label ? `${label}: ${name}` : name })));
    select.addEventListener("change", () => select.value !== "" && this.open({ example: Number(select.value) }, select.selectedOptions[0].text));
  }

  // What was begun before ends.
  begin(text) {
    this.controller.abort();
    this.stopWebcam();
    this.controller = new AbortController();
    this.tell(text);
    return this.controller;
  }

  cancelButton(controller) {
    const button = make("button", { type: "button", text: "Cancel" });
    button.onclick = () => {
      controller.abort();
      this.tell("Cancelled.");
    };
    return button;
  }

  tell(text) {
    this.note.replaceChildren(text);
  }

  fail(error) {
    if (!(error instanceof Cancelled)) this.note.replaceChildren(errorLine(error));
  }

  // Upload a file. The player shows it at once, from this computer.
  async send(file, name, measured = null) {
    const controller = this.begin("");
    const text = make("span", { text: "Sending …" });
    this.note.replaceChildren(text, " ", this.cancelButton(controller));
    find("#example").value = "";
    const { signal } = controller;
    try {
      const video = await upload(file, name, (share) => (text.textContent = `Sending … ${Math.round(100 * share)} %`), signal);
      if (!signal.aborted) this.show(video, URL.createObjectURL(file), { measured });
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  // Open an example, a tested video or a web address, which the server may have to fetch first.
  async open(source, name, tab = null) {
    const controller = this.begin(`Opening ${name} …`);
    if (!("example" in source)) find("#example").value = "";
    const { signal } = controller;
    try {
      const video = await addSource(source);
      if (!video.fetched) {
        if (signal.aborted) return;
        this.note.replaceChildren(`Fetching ${name} … `, this.cancelButton(controller));
        await run({ kind: "fetch", video: video.id }, { signal });
      }
      if (!signal.aborted) this.show(video, `/videos/${video.id}`, { tab });
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  show(video, address, { tab = null, measured = null } = {}) {
    Object.assign(this, { video, measured, isOpen: false });
    this.tell("");
    find("#player").hidden = false;
    find("#player figcaption").textContent = video.name;
    find("#fps-field").hidden = !video.of_images;
    find("#fps").value = video.fps ?? 25;
    this.stills.hidden = true;
    this.screen.hidden = false;
    this.clearScreen();
    if (video.of_images) this.showStills(video.start ?? 0);
    else this.screen.src = video.start || video.end ? `${address}#t=${video.start ?? 0}${video.end ? `,${video.end}` : ""}` : address;
    this.dispatchEvent(new CustomEvent("video", { detail: tab }));
  }

  clearScreen() {
    if (this.screen.src.startsWith("blob:")) URL.revokeObjectURL(this.screen.src);
    this.screen.removeAttribute("src");
    this.screen.srcObject = null;
  }

  // Frames from the server stand for a video that the browser does not play. One is fetched at a time; of the times that
  // are asked for meanwhile, the last one is next.
  async showStills(seconds) {
    this.wanted = seconds;
    if (this.fetching) return;
    this.fetching = true;
    while (this.wanted !== null) {
      const next = this.wanted;
      this.wanted = null;
      await this.showStill(next);
    }
    this.fetching = false;
  }

  async showStill(seconds) {
    const video = this.video;
    const response = await fetch(`/videos/${video.id}/frame?seconds=${seconds}${this.fps ? `&fps=${this.fps}` : ""}`).catch(() => null);
    if (this.video !== video) return;
    if (!response?.ok) {
      find("#player").hidden = true;
      this.opened();
      return;
    }
    const image = find("img", this.stills);
    const before = image.src;
    image.src = URL.createObjectURL(await response.blob());
    image.alt = `The frame at ${clock(seconds, true)}`;
    if (before) URL.revokeObjectURL(before);
    const range = find("input", this.stills);
    range.max = response.headers.get("x-duration-seconds") ?? 1;
    if (this.wanted === null) range.value = seconds;
    range.setAttribute("aria-valuetext", clock(seconds, true));
    this.screen.hidden = true;
    this.stills.hidden = false;
    this.opened();
    if (video.of_images) return;
    find("#player figcaption").textContent = `${video.name}: the browser does not play this file; the server shows its frames.`;
  }

  async record() {
    if (this.recorder) {
      this.recorder.stop();
      return;
    }
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      this.fail(new Error("The browser gives no webcam to this page; expected it to be opened as http://127.0.0.1 or http://localhost"));
      return;
    }
    const { signal } = this.begin("Waiting for the webcam …");
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
    } catch (error) {
      if (!signal.aborted) this.fail(new Error(`The webcam cannot be used: ${error.message}`));
      return;
    }
    if (signal.aborted) { // another video was chosen meanwhile, or the button was pressed again
      stream.getTracks().forEach((track) => track.stop());
      return;
    }
    const parts = [];
    const began = performance.now();
    const recorder = new MediaRecorder(stream);
    this.recorder = recorder;
    this.stream = stream;
    recorder.ondataavailable = (event) => parts.push(event.data);
    recorder.onstop = () => {
      if (this.recorder !== recorder) return; // another video was chosen meanwhile
      this.stopWebcam();
      const kind = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
      this.send(new Blob(parts, { type: recorder.mimeType }), `webcam.${kind}`, (performance.now() - began) / 1000);
    };
    find("#player").hidden = false;
    this.stills.hidden = true;
    this.screen.hidden = false;
    this.clearScreen();
    this.screen.srcObject = stream;
    this.screen.play().catch(() => {}); // ends early where another video is chosen
    find("#player figcaption").textContent = "The webcam";
    this.tell("Recording …");
    find("#record").textContent = "Stop and classify";
    recorder.start();
    setTimeout(() => recorder.state === "recording" && recorder.stop(), LONGEST_RECORDING_MS);
  }

  stopWebcam() {
    const { recorder } = this;
    this.recorder = null;
    if (recorder?.state === "recording") recorder.stop();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    find("#record").textContent = "Record from the webcam";
  }
}
