/** Round to whole numbers, halves to even. */
export function rint(value) {
  const low = Math.floor(value);
  return value - low === 0.5 ? low + (low % 2 ? 1 : 0) : Math.round(value);
}
