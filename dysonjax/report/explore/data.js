// Numbers of the page: see report/explore/pack.py. They are unpacked when they are first asked for.
const unpacked = new WeakMap();

function numbers(packed) {
  if (!unpacked.has(packed)) unpacked.set(packed, unpack(packed));
  return unpacked.get(packed);
}

function unpack({ kind, offset, step, data }) {
  const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
  if (kind === "small") return Float64Array.from(bytes, (code) => (code === 255 ? NaN : code));
  const codes = new Uint16Array(bytes.buffer); // browsers run on little-endian machines
  return Float64Array.from(codes, (code) => {
    if (code === 0xffff) return NaN;
    if (kind === "linear") return offset + step * code;
    const magnitude = code & 0x7fff;
    if (magnitude === 0) return 0;
    return (code & 0x8000 ? -1 : 1) * offset * Math.exp(step * (magnitude - 1));
  });
}

// One number: at(packed, point, record, mode).
function at(packed, ...place) {
  return numbers(packed)[place.reduce((sum, index, axis) => sum * packed.shape[axis] + index, 0)];
}

// A number as one reads it.
function text(value, digits = 4) {
  if (value === null || Number.isNaN(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  return String(Number(value.toPrecision(digits)));
}
