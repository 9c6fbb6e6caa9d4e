// A photo from the camera. Browsers give it to secure pages and to this machine only.

import { complain, h } from "./dom.js";
import { open } from "./dialog.js";

/** Whether there is any use in offering it. */
export const canPhotograph = () => Boolean(navigator.mediaDevices?.getUserMedia);

/** Open the camera; resolves to a JPEG file, or to null where none was taken. */
export function photograph() {
  return new Promise((resolve) => {
    let stream = null;
    let taken = null;
    let closed = false;
    let facing = "user";
    const trouble = h("div");
    const video = h("video", { autoplay: true, playsinline: true, muted: true, "aria-label": "What the camera sees" });
    video.muted = true;
    const shoot = h("button", { type: "button", class: "primary", on: { click: take } }, "Take the photo");
    const turn = h("button", { type: "button", hidden: true, on: { click: () => start(facing === "user" ? "environment" : "user") } }, "Other camera");
    const cancel = h("button", { type: "button", on: { click: () => box.close() } }, "Cancel");
    shoot.hidden = true;
    const content = h("div", {}, video, trouble, h("div", { class: "actions" }, shoot, turn, cancel));
    const box = open("Camera", content, {
      onclose() {
        closed = true;
        stop();
        resolve(taken);
      },
    });
    start(facing);

    function stop() {
      for (const track of stream?.getTracks() ?? []) track.stop();
      stream = null;
    }

    async function start(wanted) {
      stop();
      try {
        const got = await navigator.mediaDevices.getUserMedia({ video: { facingMode: wanted, width: { ideal: 1280 } }, audio: false });
        stream = got;
        if (closed) return stop();
        facing = wanted;
        video.srcObject = got;
        await video.play();
        const devices = await navigator.mediaDevices.enumerateDevices();
        turn.hidden = devices.filter((one) => one.kind === "videoinput").length < 2;
        shoot.hidden = false;
        shoot.focus();
      } catch (problem) {
        if (closed) return undefined;
        const refused = problem.name === "NotAllowedError";
        const detail = refused ? "The browser was not allowed to use it. Allow it for this page, or choose a photo." : problem.message;
        complain(trouble, { title: "The camera cannot be used", detail });
      }
      return undefined;
    }

    function take() {
      const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
      canvas.getContext("2d").drawImage(video, 0, 0);
      canvas.toBlob(
        (blob) => {
          taken = blob && new File([blob], "camera.jpg", { type: "image/jpeg" });
          box.close();
        },
        "image/jpeg",
        0.95,
      );
    }
  });
}
