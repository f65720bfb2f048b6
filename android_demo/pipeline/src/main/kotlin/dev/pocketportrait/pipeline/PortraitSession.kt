package dev.pocketportrait.pipeline

/**
 * What one frame gave; [image] is the picture as the graph gave it, RGB 0..1 in the contract's layout.
 *
 * [picture] and [image] are the session's own memory: the next frame overwrites them.
 */
class DrawnFrame(val picture: Picture, val image: FloatArray, val pose: FloatArray, val motionMs: Double, val renderMs: Double)

/** One photo, encoded once, then any number of driving frames. Not for two threads at a time. */
class PortraitSession(bundle: Bundle, engine: Engine, precision: String, motion: Motion = Motion.RELATIVE) : AutoCloseable {
    private val opened = ArrayList<ContractGraph>()
    private val appearance: ContractGraph
    private val motionGraph: ContractGraph
    private val render: ContractGraph
    private var tensor: FloatArray? = null
    private var drawn: Picture? = null
    private val pose: IntRange = bundle.manifest.codeSlices["pose"] ?: throw InputError("want the code slice pose, got none; export the bundle again")

    /** Whether a photo was set. */
    var hasPhoto = false
        private set

    /** Carries the driver's motion over; its neutral code can be reset. */
    val transfer = MotionTransfer(motion)

    init {
        try {
            val (first, second, third) = GRAPHS.map { graph -> engine.open(bundle, precision, graph).also(opened::add) }
            appearance = first
            motionGraph = second
            render = third
        } catch (error: Throwable) {
            close()
            throw error
        }
    }

    /**
     * Encodes the photo; driving frames animate it from now on.
     *
     * @param photo a square as [cut] gives it.
     */
    fun setPhoto(photo: Picture) {
        val source = code(photo)
        val features = appearance.run(mapOf("photo" to asTensor(photo, appearance.spec.input("photo"))))
        transfer.setSource(source)
        transfer.resetNeutral()
        render.bind(features + ("source_code" to source))
        hasPhoto = true
    }

    /** Returns the pose of the driver in this frame, without drawing. */
    fun look(frame: Picture): FloatArray = poseOf(code(frame))

    /**
     * Lets the photo do what the driver does in this frame.
     *
     * @throws InputError no photo was set, or another size.
     */
    fun step(frame: Picture): DrawnFrame {
        if (!hasPhoto) throw InputError("want a photo before the first frame; choose one")
        val start = System.nanoTime()
        val driving = code(frame)
        val seen = System.nanoTime()
        val values = render.run(mapOf("driving_code" to transfer.apply(driving))).getValue("image")
        val end = System.nanoTime()
        val picture = Picture.ofTensor(values, render.spec.outputs.first { it.name == "image" }, drawn).also { drawn = it }
        return DrawnFrame(picture, values, poseOf(driving), (seen - start) / 1e6, (end - seen) / 1e6)
    }

    private fun poseOf(code: FloatArray): FloatArray = code.copyOfRange(pose.first, pose.last + 1)

    override fun close() {
        opened.forEach { it.close() }
        opened.clear()
    }

    private fun code(picture: Picture): FloatArray =
        motionGraph.run(mapOf("frame" to asTensor(picture, motionGraph.spec.input("frame")))).getValue("code")

    private fun asTensor(picture: Picture, spec: TensorSpec): FloatArray = picture.toTensor(spec, tensor).also { tensor = it }
}
