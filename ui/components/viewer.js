// Scrolls the slices of one series on a canvas. Stored values come from the slice route as 16-bit integers (or 8-bit
// RGB); window and level are applied here, so dragging and cine cost no request. Nothing is fetched from elsewhere.

const HTML = `
<div class="viewer">
  <div class="bar" role="toolbar" aria-label="Image controls">
    <select class="preset" aria-label="Window preset"></select>
    <button class="cine" type="button" aria-pressed="false" title="Play the slices (space)">Play</button>
    <button class="invert" type="button" aria-pressed="false" title="Invert grey (I)">Invert</button>
    <button class="blanked" type="button" aria-pressed="true" title="Outline what was blanked (B)" hidden>Blanked</button>
    <button class="reset" type="button" title="Fit and reset the window (R)">Reset</button>
    <span class="grow"><input class="slider" type="range" min="0" value="0" aria-label="Slice" /><span class="count"></span></span>
  </div>
  <div class="stage" tabindex="0" role="img">
    <canvas></canvas>
    <div class="note top"><span class="what"></span><span class="scale"></span></div>
    <div class="note"><span class="pointer"></span><span class="window"></span></div>
    <div class="failed" role="alert"></div>
  </div>
  <div class="help">Wheel or arrow keys: slices. Home, End: first, last. Drag: window. Shift and drag: move.
    Ctrl and wheel, + and −: zoom. Space: play. I: invert. B: blanked regions. R: reset.</div>
  <div class="spoken" aria-live="polite"></div>
</div>`

const CACHE_BYTES = 256 * 1024 * 1024
const PARALLEL = 4
const viewers = new WeakMap()

export default function (component) {
  const { data, parentElement } = component
  let viewer = viewers.get(parentElement)
  if (viewer && viewer.data.series !== data.series) {
    viewer.close()
    viewer = undefined
  }
  if (!viewer) {
    const root = parentElement.querySelector(".root")
    root.innerHTML = HTML
    viewer = open(root, data)
    viewers.set(parentElement, viewer)
  }
  return () => {
    viewer.close()
    viewers.delete(parentElement)
  }
}

function open(root, data) {
  const $ = (name) => root.querySelector("." + name)
  const stage = $("stage"), canvas = root.querySelector("canvas"), slider = $("slider"), preset = $("preset")
  const held = new Map() // slice index -> decoded slice, oldest first
  const wanted = new Map() // slice index -> promise
  const page = new URL(window.location.href).searchParams
  const state = { index: 0, shown: null, center: null, width: null, inverted: false, outlined: true, zoom: 1, dx: 0, dy: 0, cine: 0, closed: false }
  let heldBytes = 0, image = document.createElement("canvas"), saving = 0, frame = 0
  const lut = new Uint32Array(65536)

  state.index = clampIndex(page.has("slice") ? parseInt(page.get("slice"), 10) - 1 : data.start)
  const asked = (page.get("window") || "").split(",").map(Number)
  if (asked.length === 2 && asked.every(Number.isFinite) && asked[1] > 0) [state.center, state.width] = asked

  function clampIndex(i) { return Math.max(0, Math.min(data.n - 1, Number.isFinite(i) ? i : 0)) }

  // ---- slices -------------------------------------------------------------------------------------------------
  async function fetchSlice(i) {
    const response = await fetch(`${data.base}/${i}.raw?reduce=${data.reduce}&v=${data.version}`)
    if (!response.ok) throw new Error(response.status === 404 ? "This slice is not in the lake." : "This slice cannot be decoded here.")
    const header = (name) => response.headers.get("X-Slice-" + name)
    const bytes = await response.arrayBuffer()
    const kind = header("Type")
    const values = kind === "rgb8" ? new Uint8Array(bytes) : kind === "uint16" ? new Uint16Array(bytes) : new Int16Array(bytes)
    return {
      kind, values, rows: +header("Rows"), columns: +header("Columns"), slope: +header("Slope"), intercept: +header("Intercept"),
      inverted: header("Inverted") === "1", center: +header("Center"), width: +header("Width"), aspect: +header("Aspect") || 1,
      regions: (header("Regions") || "").split(";").filter(Boolean).map((box) => box.split(",").map(Number)),
      mm: +header("Mm") || 0, label: header("Label") || "", bytes: bytes.byteLength,
    }
  }

  function slice(i) {
    if (held.has(i)) return Promise.resolve(held.get(i))
    if (!wanted.has(i)) {
      wanted.set(i, fetchSlice(i).then((s) => { hold(i, s); return s }).finally(() => wanted.delete(i)))
    }
    return wanted.get(i)
  }

  function hold(i, s) {
    held.set(i, s)
    heldBytes += s.bytes
    for (const [j, old] of held) {
      if (heldBytes <= CACHE_BYTES || j === i) break
      held.delete(j)
      heldBytes -= old.bytes
    }
  }

  async function prefetch() {
    // outwards from where we are, so that the next turn of the wheel finds its slice here
    const around = state.index, order = []
    for (let d = 1; d < data.n; d++) for (const j of [around + d, around - d]) if (j >= 0 && j < data.n) order.push(j)
    const average = held.size ? heldBytes / held.size : 1
    const room = Math.max(4, Math.floor(CACHE_BYTES / Math.max(average, 1)) - 2)
    const queue = order.slice(0, room).filter((j) => !held.has(j))
    const work = async () => {
      while (queue.length && !state.closed && Math.abs(state.index - around) < 8) await slice(queue.shift()).catch(() => {})
    }
    await Promise.all(Array.from({ length: PARALLEL }, work))
  }

  let prefetching = 0
  async function show() {
    const i = state.index
    slider.value = i
    $("count").textContent = `${i + 1} / ${data.n}`
    try {
      const s = await slice(i)
      if (state.closed || state.index !== i) return
      $("failed").style.display = "none"
      state.shown = s
      if (state.center === null) [state.center, state.width] = [s.center, s.width]
      paint()
      clearTimeout(prefetching)
      prefetching = setTimeout(prefetch, 30)
    } catch (error) {
      if (state.index !== i || state.closed) return
      state.shown = null
      $("failed").textContent = error.message
      $("failed").style.display = "flex"
      draw()
    }
    remember()
  }

  // ---- drawing ------------------------------------------------------------------------------------------------
  function paint() {
    const s = state.shown
    if (!s) return
    if (image.width !== s.columns || image.height !== s.rows) { image.width = s.columns; image.height = s.rows }
    const context = image.getContext("2d")
    const pixels = context.createImageData(s.columns, s.rows)
    const out = new Uint32Array(pixels.data.buffer)
    if (s.kind === "rgb8") {
      for (let p = 0, q = 0; p < out.length; p++, q += 3) {
        out[p] = 0xff000000 | (s.values[q + 2] << 16) | (s.values[q + 1] << 8) | s.values[q]
      }
    } else {
      fillLut(s)
      for (let p = 0; p < out.length; p++) out[p] = lut[s.values[p] & 0xffff]
    }
    context.putImageData(pixels, 0, 0)
    draw()
  }

  function fillLut(s) {
    // linear window of PS3.3 C.11.2.1.2; MONOCHROME1 says that the lowest value is white
    const low = state.center - 0.5 - (state.width - 1) / 2, span = Math.max(state.width - 1, 1e-6)
    const flip = s.inverted !== state.inverted, signed = s.kind === "int16"
    for (let v = 0; v < 65536; v++) {
      const stored = signed && v > 32767 ? v - 65536 : v
      let grey = Math.max(0, Math.min(255, ((stored * s.slope + s.intercept - low) / span) * 255)) | 0
      if (flip) grey = 255 - grey
      lut[v] = 0xff000000 | (grey << 16) | (grey << 8) | grey
    }
  }

  function geometry() {
    const s = state.shown, w = canvas.width, h = canvas.height
    const fit = Math.min(w / s.columns, h / (s.rows * s.aspect))
    const sx = fit * state.zoom, sy = sx * s.aspect
    return { sx, sy, x: w / 2 - (s.columns * sx) / 2 + state.dx, y: h / 2 - (s.rows * sy) / 2 + state.dy }
  }

  function draw() {
    const ratio = window.devicePixelRatio || 1, box = stage.getBoundingClientRect()
    const w = Math.max(1, Math.round(box.width * ratio)), h = Math.max(1, Math.round(box.height * ratio))
    if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h }
    const context = canvas.getContext("2d")
    context.fillStyle = "#000"
    context.fillRect(0, 0, w, h)
    if (!state.shown) return
    const g = geometry()
    context.imageSmoothingEnabled = g.sx < 4
    context.imageSmoothingQuality = "high"
    context.drawImage(image, g.x, g.y, state.shown.columns * g.sx, state.shown.rows * g.sy)
    if (state.outlined) outline(context, g, ratio)
    describe()
  }

  function outline(context, g, ratio) {
    context.save()
    context.strokeStyle = "#f2b134"
    context.lineWidth = ratio
    context.setLineDash([5 * ratio, 4 * ratio])
    for (const [x, y, w, h] of state.shown.regions) context.strokeRect(g.x + x * g.sx, g.y + y * g.sy, w * g.sx, h * g.sy)
    context.restore()
  }

  function describe() {
    const s = state.shown, tidy = (v) => (Math.abs(v) < 10 ? v.toFixed(2) : Math.round(v))
    $("what").textContent = [data.title, s.label].filter(Boolean).join(" · ")
    $("scale").textContent = s.mm ? `${Math.round(s.columns * s.mm)} mm wide` : ""
    $("window").textContent = s.kind === "rgb8" ? "" : `centre ${tidy(state.center)}  width ${tidy(state.width)}${data.unit ? " " + data.unit : ""}`
    $("blanked").hidden = !s.regions.length
    $("blanked").textContent = `Blanked (${s.regions.length})`
    stage.setAttribute("aria-label", `${data.alt}, slice ${state.index + 1} of ${data.n}`)
    root.querySelector(".viewer").dataset.slice = state.index + 1
  }

  // ---- what the hand does ---------------------------------------------------------------------------------------
  function go(i) {
    const next = clampIndex(i)
    if (next === state.index && state.shown) return
    state.index = next
    show()
  }

  function setWindow(center, width) {
    state.center = center
    state.width = Math.max(width, 1e-3)
    cancelAnimationFrame(frame)
    frame = requestAnimationFrame(paint)
    remember()
  }

  function choosePreset() {
    const p = data.presets[preset.selectedIndex]
    const s = state.shown
    if (p && p.width) setWindow(p.center, p.width)
    else if (s) setWindow(s.center, s.width)
  }

  function invert() {
    state.inverted = !state.inverted
    $("invert").setAttribute("aria-pressed", state.inverted)
    paint()
  }

  function outlineOrNot() {
    state.outlined = !state.outlined
    $("blanked").setAttribute("aria-pressed", state.outlined)
    draw()
  }

  function reset() {
    Object.assign(state, { zoom: 1, dx: 0, dy: 0, inverted: false })
    $("invert").setAttribute("aria-pressed", false)
    preset.selectedIndex = 0
    if (state.shown) { state.center = state.shown.center; state.width = state.shown.width }
    paint()
    remember()
  }

  function zoom(factor) {
    state.zoom = Math.max(0.5, Math.min(20, state.zoom * factor))
    draw()
  }

  function cine(play = !state.cine) {
    clearInterval(state.cine)
    state.cine = play ? setInterval(() => go((state.index + 1) % data.n), 1000 / data.fps) : 0
    $("cine").setAttribute("aria-pressed", Boolean(state.cine))
    $("cine").textContent = state.cine ? "Pause" : "Play"
  }

  function remember() {
    // the place on the page is part of its address; written when the hand rests, so that history stays clean
    clearTimeout(saving)
    saving = setTimeout(() => {
      if (state.closed || state.cine) return
      const url = new URL(window.location.href)
      url.searchParams.set("slice", state.index + 1)
      if (state.shown && state.shown.kind !== "rgb8") url.searchParams.set("window", `${+state.center.toFixed(2)},${+state.width.toFixed(2)}`)
      window.history.replaceState(window.history.state, "", url)
      root.querySelector(".spoken").textContent = `Slice ${state.index + 1} of ${data.n}`
    }, 400)
  }

  let turned = 0
  stage.onwheel = (event) => {
    event.preventDefault()
    if (event.ctrlKey) return zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1)
    turned += event.deltaY
    const steps = Math.trunc(turned / 40)
    if (!steps) return
    turned -= steps * 40
    go(state.index + Math.sign(steps) * Math.min(Math.abs(steps), 5))
  }
  stage.onkeydown = (event) => {
    const keys = {
      ArrowDown: () => go(state.index + 1), ArrowRight: () => go(state.index + 1), ArrowUp: () => go(state.index - 1),
      ArrowLeft: () => go(state.index - 1), PageDown: () => go(state.index + 10), PageUp: () => go(state.index - 10),
      Home: () => go(0), End: () => go(data.n - 1), " ": () => cine(), i: invert, b: outlineOrNot, r: reset, "+": () => zoom(1.2), "-": () => zoom(1 / 1.2),
    }
    if (event.ctrlKey || event.metaKey || !keys[event.key]) return
    event.preventDefault()
    event.stopPropagation()
    keys[event.key]()
  }
  let grip = null
  stage.onpointerdown = (event) => {
    stage.focus()
    stage.setPointerCapture(event.pointerId)
    grip = { x: event.clientX, y: event.clientY, center: state.center, width: state.width, dx: state.dx, dy: state.dy, move: event.shiftKey || event.button === 1 }
  }
  stage.onpointermove = (event) => {
    const s = state.shown
    if (!s) return
    const ratio = window.devicePixelRatio || 1
    if (grip && grip.move) {
      state.dx = grip.dx + (event.clientX - grip.x) * ratio
      state.dy = grip.dy + (event.clientY - grip.y) * ratio
      draw()
    } else if (grip && s.kind !== "rgb8") {
      const gain = Math.max(grip.width, 1) / 300
      setWindow(grip.center + (event.clientY - grip.y) * gain, grip.width + (event.clientX - grip.x) * gain)
    }
    const box = stage.getBoundingClientRect(), g = geometry()
    const column = Math.floor(((event.clientX - box.left) * ratio - g.x) / g.sx), row = Math.floor(((event.clientY - box.top) * ratio - g.y) / g.sy)
    const inside = column >= 0 && row >= 0 && column < s.columns && row < s.rows
    const value = inside && s.kind !== "rgb8" ? s.values[row * s.columns + column] * s.slope + s.intercept : null
    $("pointer").textContent = value === null ? "" : `${+value.toFixed(2)}${data.unit ? " " + data.unit : ""} at ${column}, ${row}`
  }
  stage.onpointerup = stage.onpointercancel = () => { grip = null }
  stage.ondblclick = reset
  slider.max = data.n - 1
  slider.oninput = () => go(+slider.value)
  slider.onkeydown = (event) => event.stopPropagation()
  preset.replaceChildren(...data.presets.map((p) => Object.assign(document.createElement("option"), { textContent: p.name })))
  preset.onchange = choosePreset
  $("cine").onclick = () => cine()
  $("cine").hidden = data.n < 2
  slider.hidden = data.n < 2
  $("invert").onclick = invert
  $("blanked").onclick = outlineOrNot
  $("reset").onclick = reset
  const watcher = new ResizeObserver(() => draw())
  watcher.observe(stage)
  stage.setAttribute("aria-label", data.alt)
  show()

  return {
    data,
    close() {
      state.closed = true
      clearInterval(state.cine)
      clearTimeout(saving)
      watcher.disconnect()
      held.clear()
    },
  }
}
