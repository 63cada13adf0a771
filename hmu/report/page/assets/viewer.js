// Plays the takes: time, keys and buttons.
import { readTakes } from "./motions.js";
import { Picker } from "./picker.js";
import { Stage } from "./stage.js";

const PAUSE_AT_END = 0.7; // seconds before a motion starts again
const TURN = 0.12; // radians per key press

class Viewer {
  constructor(element, facts, takes) {
    Object.assign(this, { element, facts, takes, time: 0, playing: false, speed: 1, dirty: true, last: null });
    const find = (id) => element.querySelector(`#${id}`);
    [this.play, this.scrub, this.clock, this.rate, this.prompt] = ["play", "scrub", "time", "speed", "prompt"].map(find);
    this.stage = new Stage(find("stage"), facts.stick, () => { this.dirty = true; });
    this.picker = new Picker(find("list"), find("filter"), facts, (number) => this.choose(number));
    this.play.addEventListener("click", () => this.toggle());
    this.scrub.addEventListener("input", () => this.seek(Number(this.scrub.value)));
    this.rate.addEventListener("change", () => { this.speed = Number(this.rate.value); });
    find("reset").addEventListener("click", () => this.stage.resetView());
    element.addEventListener("keydown", (event) => this.key(event));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.stage.paint();
      this.dirty = true;
    });
    this.choose(0);
    requestAnimationFrame((now) => this.tick(now));
  }

  choose(number) {
    const take = this.takes[number];
    this.number = number;
    this.seconds = Math.max(...take.clips.map((clip) => clip.seconds));
    this.prompt.textContent = this.facts.asked ? `“${take.prompt}”` : take.prompt;
    this.scrub.max = this.seconds;
    this.stage.show(take.clips, this.facts.models, (clip) => this.note(clip));
    this.picker.mark(number);
    this.element.dataset.prompt = number;
    this.seek(0);
  }

  note(clip) {
    if (clip.seen === null) return "";
    return `${this.facts.concept.replaceAll("_", " ")} ${clip.seen ? "detected" : "not detected"}`;
  }

  toggle(playing = !this.playing) {
    this.playing = playing;
    if (playing && this.time >= this.seconds) this.seek(0);
    this.play.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.play.classList.toggle("playing", playing);
    this.last = null;
  }

  seek(time) {
    this.time = Math.min(Math.max(time, 0), this.seconds + PAUSE_AT_END);
    const shown = Math.min(this.time, this.seconds);
    this.scrub.value = shown;
    this.clock.textContent = `${shown.toFixed(2)} / ${this.seconds.toFixed(2)} s`;
    this.dirty = true;
  }

  tick(now) {
    if (this.playing) {
      const passed = this.last === null ? 0 : Math.min((now - this.last) / 1000, 0.25);
      this.last = now;
      const next = this.time + passed * this.speed;
      this.seek(next > this.seconds + PAUSE_AT_END ? 0 : next);
    }
    if (this.dirty) {
      this.dirty = false;
      this.stage.draw(Math.min(this.time, this.seconds));
    }
    requestAnimationFrame((later) => this.tick(later));
  }

  step(frames) {
    this.toggle(false);
    this.seek((Math.round(Math.min(this.time, this.seconds) * this.facts.fps) + frames) / this.facts.fps);
  }

  changeSpeed(steps) {
    const last = this.rate.options.length - 1;
    this.rate.selectedIndex = Math.min(Math.max(this.rate.selectedIndex + steps, 0), last);
    this.speed = Number(this.rate.value);
  }

  key(event) {
    const { target, key, shiftKey } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || target.matches("select, input[type=search]")) return;
    if (key === " " && target.matches("button")) return; // a button's own key
    const turned = { ArrowLeft: [-TURN, 0], ArrowRight: [TURN, 0], ArrowUp: [0, TURN], ArrowDown: [0, -TURN] };
    const actions = {
      " ": () => this.toggle(),
      ArrowLeft: () => this.step(-1),
      ArrowRight: () => this.step(1),
      ArrowUp: () => this.choose(this.picker.neighbour(this.number, -1)),
      ArrowDown: () => this.choose(this.picker.neighbour(this.number, 1)),
      Home: () => this.seek(0),
      End: () => { this.toggle(false); this.seek(this.seconds); },
      ",": () => this.changeSpeed(-1),
      ".": () => this.changeSpeed(1),
      "+": () => this.stage.orbit(0, 0, 1 / 1.1),
      "-": () => this.stage.orbit(0, 0, 1.1),
      r: () => this.stage.resetView(),
    };
    const action = shiftKey && turned[key] ? () => this.stage.orbit(...turned[key]) : actions[key];
    if (!action) return;
    event.preventDefault();
    action();
  }
}

/** Make the viewer work; throws where the browser has no WebGL. */
export async function start(element) {
  const facts = JSON.parse(document.getElementById("takes").textContent);
  const takes = await readTakes(facts, document.getElementById("motions").textContent);
  const viewer = new Viewer(element, facts, takes);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const watch = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    watch.disconnect();
    if (!calm) viewer.toggle(true);
  }, { threshold: 0.4 });
  watch.observe(element);
  element.dataset.state = "ready";
}
