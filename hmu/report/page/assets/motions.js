// Reads what hmu/report/page/motions.py packed.

async function inflate(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Takes with clips whose `at(time, out)` fills a Float32Array with x, y, z of every point. */
export async function readTakes(facts, base64) {
  const planes = await inflate(base64);
  const high = planes.length / 2;
  let start = 0;
  const clips = (clip) => {
    const width = clip.points * 3;
    const values = new Float32Array(width * clip.frames);
    for (let column = 0; column < width; column += 1) {
      let whole = 0;
      for (let frame = 0; frame < clip.frames; frame += 1, start += 1) {
        whole = ((whole + (planes[start] | (planes[high + start] << 8))) << 16) >> 16; // wraps as int16 does
        values[frame * width + column] = whole * facts.step;
      }
    }
    return new Clip(clip, values, facts.fps, facts.stick.joints);
  };
  return facts.takes.map((take) => ({ ...take, clips: take.clips.map(clips) }));
}

export class Clip {
  constructor({ model, frames, points, seen }, values, fps, joints) {
    Object.assign(this, { model, frames, points, seen, values, fps });
    this.arrows = (points - joints) / 2;
    this.seconds = (frames - 1) / fps;
    this.path = this.smoothPath();
  }

  /** Points at a time in seconds, between frames in straight lines; the last pose is held. */
  at(time, out) {
    const width = this.points * 3;
    const place = Math.min(Math.max(time * this.fps, 0), this.frames - 1);
    const frame = Math.min(Math.floor(place), Math.max(this.frames - 2, 0));
    const share = this.frames > 1 ? place - frame : 0;
    const here = frame * width;
    const next = this.frames > 1 ? here + width : here;
    for (let i = 0; i < width; i += 1) {
      out[i] = this.values[here + i] * (1 - share) + this.values[next + i] * share;
    }
    return out;
  }

  /** Where the root is over the ground, x and z, averaged over a second: the camera follows it without shaking. */
  smoothPath() {
    const reach = Math.max(1, Math.floor(this.fps / 2));
    const path = new Float32Array(this.frames * 2);
    for (let frame = 0; frame < this.frames; frame += 1) {
      let x = 0;
      let z = 0;
      for (let k = frame - reach; k <= frame + reach; k += 1) {
        const at = Math.min(Math.max(k, 0), this.frames - 1) * this.points * 3;
        x += this.values[at];
        z += this.values[at + 2];
      }
      path[2 * frame] = x / (2 * reach + 1);
      path[2 * frame + 1] = z / (2 * reach + 1);
    }
    return path;
  }

  /** The followed place at a time: [x, z]. */
  centre(time) {
    const place = Math.min(Math.max(time * this.fps, 0), this.frames - 1);
    const frame = Math.floor(place);
    const next = Math.min(frame + 1, this.frames - 1);
    const share = place - frame;
    return [0, 1].map((axis) => this.path[2 * frame + axis] * (1 - share) + this.path[2 * next + axis] * share);
  }
}
