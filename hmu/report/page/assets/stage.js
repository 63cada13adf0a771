// One canvas, one camera, one panel per model: what is turned in one panel turns in all.
import {
  Color, DirectionalLight, HemisphereLight, Mesh, PCFShadowMap, PerspectiveCamera, PlaneGeometry, Scene,
  ShaderMaterial, ShadowMaterial, Vector2, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "./controls.js";
import { Body } from "./body.js";

const EYE = new Vector3(1.9, 1.75, 3.4);
const LOOK_AT = new Vector3(0, 0.92, 0);
const GRID = {
  vertex: `varying vec2 place; void main() {
    place = position.xz; gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0); }`,
  fragment: `varying vec2 place; uniform vec2 offset; uniform vec3 colour;
    float lines(vec2 p, float width) {
      vec2 away = abs(fract(p - 0.5) - 0.5) / (fwidth(p) * width);
      return 1.0 - min(min(away.x, away.y), 1.0); }
    void main() {
      vec2 p = place + offset;
      float fade = 1.0 - smoothstep(0.8, 3.6, length(place));
      float strength = max(0.45 * lines(p * 2.0, 1.1), lines(p, 1.3));
      gl_FragColor = vec4(colour, strength * fade); }`,
};

export class Stage {
  constructor(element, stick, changed) {
    this.element = element;
    this.stick = stick;
    this.canvas = element.querySelector("canvas");
    this.renderer = new WebGLRenderer({ canvas: this.canvas, antialias: true, alpha: true });
    this.renderer.setScissorTest(true);
    this.renderer.shadowMap.enabled = true;
    this.renderer.shadowMap.type = PCFShadowMap;
    this.scene = new Scene();
    this.camera = new PerspectiveCamera(34, 1, 0.1, 40);
    this.controls = new OrbitControls(this.camera, this.canvas);
    Object.assign(this.controls, { enablePan: false, minDistance: 1.6, maxDistance: 12, maxPolarAngle: 1.62 });
    this.controls.enableZoom = false; // the page scrolls, until somebody steps in
    this.canvas.addEventListener("focus", () => { this.controls.enableZoom = true; });
    this.canvas.addEventListener("blur", () => { this.controls.enableZoom = false; });
    this.controls.addEventListener("change", changed);
    this.bodies = [];
    this.furnish();
    this.resetView();
    new ResizeObserver(() => this.resize(changed)).observe(element);
  }

  furnish() {
    this.sky = new HemisphereLight(0xffffff, 0x8a8f99, 1.7);
    const sun = new DirectionalLight(0xffffff, 2.1);
    sun.position.set(0.7, 4.5, 0.9);
    sun.castShadow = true;
    sun.shadow.mapSize.set(1024, 1024);
    Object.assign(sun.shadow.camera, { left: -2, right: 2, top: 2, bottom: -2, near: 1, far: 9 });
    sun.shadow.radius = 3;
    const flat = new PlaneGeometry(8, 8).rotateX(-Math.PI / 2);
    this.grid = new Mesh(flat, new ShaderMaterial({
      vertexShader: GRID.vertex, fragmentShader: GRID.fragment, transparent: true, depthWrite: false,
      uniforms: { offset: { value: new Vector2() }, colour: { value: new Color() } },
    }));
    this.shadow = new Mesh(flat, new ShadowMaterial({ transparent: true, depthWrite: false }));
    this.shadow.position.y = 0.002;
    this.shadow.receiveShadow = true;
    this.scene.add(this.sky, sun, this.grid, this.shadow);
  }

  resetView() {
    this.controls.target.copy(LOOK_AT);
    this.camera.position.copy(EYE);
    this.controls.update();
  }

  /** Turn by angles in radians, or come nearer (a factor below 1). */
  orbit(sideways, upwards, factor = 1) {
    const arm = this.camera.position.clone().sub(this.controls.target);
    const polar = Math.min(1.6, Math.max(0.05, Math.acos(arm.y / arm.length()) - upwards));
    const length = Math.min(this.controls.maxDistance, Math.max(this.controls.minDistance, arm.length() * factor));
    arm.setFromSphericalCoords(length, polar, Math.atan2(arm.x, arm.z) + sideways);
    this.camera.position.copy(this.controls.target).add(arm);
    this.controls.update();
  }

  /** Show clips, each in a panel with a title and a note. */
  show(clips, models, note) {
    for (const { body, panel } of this.bodies) {
      this.scene.remove(body.group);
      body.dispose();
      panel.remove();
    }
    this.bodies = clips.map((clip) => {
      const { name, kind } = models[clip.model];
      const panel = document.createElement("div");
      panel.className = "panel";
      const title = document.createElement("h3");
      title.className = `model ${kind}`;
      title.textContent = name;
      const words = document.createElement("p");
      words.textContent = note(clip);
      panel.append(title, words);
      this.element.append(panel);
      const body = new Body(clip, this.stick);
      this.scene.add(body.group);
      return { body, panel, kind };
    });
    this.element.style.setProperty("--panels", clips.length);
    this.paint();
    this.resize(() => {});
  }

  /** Take the colours from the style sheet, which knows light from dark. */
  paint() {
    const style = getComputedStyle(this.element);
    const colour = (name) => new Color(style.getPropertyValue(name).trim());
    for (const { body, kind } of this.bodies) body.paint(colour(`--${kind}`), colour("--force"));
    this.grid.material.uniforms.colour.value = colour("--grid-3d").convertLinearToSRGB();
    this.shadow.material.opacity = Number(style.getPropertyValue("--shadow-3d"));
    this.sky.intensity = Number(style.getPropertyValue("--sky-3d"));
  }

  resize(changed) {
    const { width, height } = this.element.getBoundingClientRect();
    this.renderer.setPixelRatio(Math.min(window.devicePixelRatio, 2));
    this.renderer.setSize(width, height, false);
    changed();
  }

  draw(time) {
    const whole = this.canvas.getBoundingClientRect();
    for (const { body } of this.bodies) body.pose(time);
    for (const { body, panel } of this.bodies) {
      const box = panel.getBoundingClientRect();
      for (const other of this.bodies) other.body.group.visible = other.body === body;
      const corner = [box.left - whole.left, whole.bottom - box.bottom, box.width, box.height];
      this.renderer.setViewport(...corner);
      this.renderer.setScissor(...corner);
      this.camera.aspect = box.width / box.height;
      // Narrow panels show the same width of ground, not a sliver.
      this.camera.fov = this.camera.aspect < 0.8 ? 34 * 0.8 / this.camera.aspect : 34;
      this.camera.updateProjectionMatrix();
      this.grid.material.uniforms.offset.value.set(-body.group.position.x, -body.group.position.z);
      this.renderer.render(this.scene, this.camera);
    }
  }
}
