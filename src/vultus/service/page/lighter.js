// Photos of a phone are large, and many of them go into one request: big ones are made smaller before they are sent.

const HEAVY = 1_500_000;
const SIDE = 2048;

/** The file itself where it is light, or cannot be read here; else a JPEG of at most 2,048 pixels a side. */
export async function lighter(file) {
  if (file.size <= HEAVY) return file;
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file;
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(bitmap.width * scale);
  canvas.height = Math.round(bitmap.height * scale);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return blob && blob.size < file.size ? blob : file;
}
