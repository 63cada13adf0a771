// A figure of rounded limbs, the path of its root on the ground, and arrows if the motion has any.
import {
  BufferAttribute, BufferGeometry, Color, ConeGeometry, CylinderGeometry, DoubleSide, Group, InstancedMesh, Matrix4,
  Mesh, MeshBasicMaterial, MeshStandardMaterial, Quaternion, SphereGeometry, Vector3,
} from "three";

const THIN = 0.05;
const UP = new Vector3(0, 1, 0);
const [from, to, along, middle, size] = Array.from({ length: 5 }, () => new Vector3());
const turn = new Quaternion();
const matrix = new Matrix4();

/** Shades that tell right from left: the right side is the darker one. */
function shade(colour, side) {
  const { h, s, l } = colour.getHSL({});
  return new Color().setHSL(h, s, Math.min(0.92, l * (side > 0 ? 0.72 : side < 0 ? 1.22 : 0.95)));
}

function limbs(count, geometry, material) {
  const mesh = new InstancedMesh(geometry, material, Math.max(1, count));
  mesh.count = count;
  mesh.frustumCulled = false;
  mesh.castShadow = true;
  return mesh;
}

export class Body {
  constructor(clip, stick) {
    this.clip = clip;
    this.stick = stick;
    this.points = new Float32Array(clip.points * 3);
    this.group = new Group();
    const skin = new MeshStandardMaterial({ roughness: 0.72 });
    this.bones = limbs(stick.bones.length, new CylinderGeometry(1, 1, 1, 18, 1, true), skin);
    this.balls = limbs(stick.joints, new SphereGeometry(1, 22, 16), skin);
    this.force = new MeshStandardMaterial({ roughness: 0.6 });
    this.shafts = limbs(clip.arrows, new CylinderGeometry(0.012, 0.012, 1, 10), this.force);
    this.tips = limbs(clip.arrows, new ConeGeometry(0.04, 0.1, 14), this.force);
    this.radii = this.jointRadii();
    this.walked = this.ribbon(0.85);
    this.ahead = this.ribbon(0.22);
    // Joints lie inside limbs: lifted by half a leg, the skin stands on the ground and not the joints.
    this.lift = (stick.widths[0] ?? THIN) / 2;
    for (const mesh of [this.ahead, this.walked, this.shafts, this.tips]) mesh.position.y = -this.lift;
    this.group.add(this.ahead, this.walked, this.bones, this.balls, this.shafts, this.tips);
  }

  jointRadii() {
    const radii = new Float32Array(this.stick.joints);
    this.stick.bones.forEach((bone, i) => {
      const radius = (this.stick.widths[i] ?? THIN) / 2;
      for (const joint of bone) radii[joint] = Math.max(radii[joint], radius);
    });
    if (this.stick.head !== null) radii[this.stick.head] = this.stick.headRadius;
    return radii;
  }

  /** The root's path as a narrow band just above the ground. */
  ribbon(opacity) {
    const { values, frames, points } = this.clip;
    const corners = new Float32Array(frames * 6);
    let [dx, dz] = [1, 0];
    for (let frame = 0; frame < frames; frame += 1) {
      const at = (f) => Math.min(Math.max(f, 0), frames - 1) * points * 3;
      const [x, z] = [values[at(frame)], values[at(frame) + 2]];
      const [vx, vz] = [0, 2].map((axis) => values[at(frame + 2) + axis] - values[at(frame - 2) + axis]);
      const length = Math.hypot(vx, vz);
      if (length > 0.004) [dx, dz] = [-vz / length, vx / length];
      corners.set([x + 0.012 * dx, 0.004, z + 0.012 * dz, x - 0.012 * dx, 0.004, z - 0.012 * dz], frame * 6);
    }
    const faces = [];
    for (let k = 0; k < 2 * frames - 2; k += 2) faces.push(k, k + 1, k + 2, k + 2, k + 1, k + 3);
    const geometry = new BufferGeometry();
    geometry.setAttribute("position", new BufferAttribute(corners, 3));
    geometry.setIndex(faces);
    const material = new MeshBasicMaterial({ side: DoubleSide, transparent: true, opacity, depthWrite: false });
    const mesh = new Mesh(geometry, material);
    mesh.renderOrder = 1;
    return mesh;
  }

  paint(colour, force) {
    const shades = new Map([-1, 0, 1].map((side) => [side, shade(colour, side)]));
    const sides = new Array(this.stick.joints).fill(0);
    this.stick.bones.forEach(([, child], i) => {
      sides[child] = this.stick.sides[i] ?? 0;
      this.bones.setColorAt(i, shades.get(sides[child]));
    });
    sides.forEach((side, joint) => this.balls.setColorAt(joint, shades.get(side)));
    this.bones.instanceColor.needsUpdate = true;
    this.balls.instanceColor.needsUpdate = true;
    this.walked.material.color.copy(colour);
    this.ahead.material.color.copy(colour);
    this.force.color.copy(force);
  }

  pose(time) {
    const points = this.clip.at(time, this.points);
    this.stick.bones.forEach(([a, b], i) => {
      const radius = (this.stick.widths[i] ?? THIN) / 2;
      this.bones.setMatrixAt(i, this.between(3 * a, 3 * b, radius));
    });
    this.radii.forEach((radius, joint) => {
      size.setScalar(radius);
      this.balls.setMatrixAt(joint, matrix.compose(from.fromArray(points, 3 * joint), turn.identity(), size));
    });
    for (let arrow = 0; arrow < this.clip.arrows; arrow += 1) {
      const tail = 3 * (this.stick.joints + 2 * arrow);
      this.shafts.setMatrixAt(arrow, this.between(tail, tail + 3, 1));
      const shown = along.lengthSq() > 1e-4 ? 1 : 0; // a foot in the air has no force
      this.tips.setMatrixAt(arrow, matrix.compose(to, turn, size.setScalar(shown)));
    }
    for (const mesh of [this.bones, this.balls, this.shafts, this.tips]) mesh.instanceMatrix.needsUpdate = true;
    const frame = Math.min(Math.floor(time * this.clip.fps), this.clip.frames - 1);
    this.walked.geometry.setDrawRange(0, 6 * frame);
    const [x, z] = this.clip.centre(time);
    this.group.position.set(-x, this.lift, -z);
  }

  between(a, b, radius) {
    from.fromArray(this.points, a);
    to.fromArray(this.points, b);
    along.subVectors(to, from);
    const length = Math.max(along.length(), 1e-6);
    turn.setFromUnitVectors(UP, middle.copy(along).divideScalar(length));
    middle.addVectors(from, to).multiplyScalar(0.5);
    return matrix.compose(middle, turn, size.set(radius, length, radius));
  }

  dispose() {
    for (const mesh of this.group.children) {
      mesh.geometry.dispose();
      mesh.material.dispose();
      if (mesh.isInstancedMesh) mesh.dispose();
    }
  }
}
