package dev.pocketportrait.demo

import android.content.Context
import android.media.MediaCodec
import android.media.MediaCodecInfo
import android.media.MediaExtractor
import android.media.MediaFormat
import android.os.SystemClock
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.YuvMatrix
import java.io.IOException
import java.util.concurrent.ArrayBlockingQueue

private const val WAIT_US = 10_000L
private const val PICTURES = 3 // one waits, one is worked on, one is filled
private const val FRAME_S = 1.0 / 25

/**
 * The clip that came with the app, played again and again at its own pace.
 *
 * @param onFrame takes each frame on the clip's thread and has to close it.
 * @param onTrouble is told on that thread why there are no more frames.
 */
class ClipSource(private val context: Context, private val onFrame: (DriverFrame) -> Unit, private val onTrouble: (String) -> Unit) : DriverSource {
    @Volatile
    private var closed = false
    private val free = ArrayBlockingQueue<Picture>(PICTURES) // memory of frames that were closed
    private val thread = Thread(::play, "clip")

    override fun start() = thread.start()

    override fun close() {
        closed = true
        thread.interrupt()
    }

    private fun play() {
        try {
            var offsetS = 0.0
            while (!closed) offsetS += once(offsetS)
        } catch (error: InterruptedException) {
            return
        } catch (error: Exception) { // decoders throw many kinds; a clip that does not play must not end the app
            if (!closed) onTrouble(error.message.orEmpty())
        }
    }

    /** Plays the clip once; returns its seconds. */
    private fun once(offsetS: Double): Double {
        val extractor = MediaExtractor()
        try {
            return decoded(extractor, offsetS)
        } finally {
            extractor.release()
        }
    }

    private fun decoded(extractor: MediaExtractor, offsetS: Double): Double {
        context.assets.openFd(CLIP).use { extractor.setDataSource(it.fileDescriptor, it.startOffset, it.length) }
        val track = (0 until extractor.trackCount).firstOrNull { extractor.getTrackFormat(it).getString(MediaFormat.KEY_MIME).orEmpty().startsWith("video/") }
            ?: throw IOException("the clip has no video")
        extractor.selectTrack(track)
        val format = extractor.getTrackFormat(track)
        format.setInteger(MediaFormat.KEY_COLOR_FORMAT, MediaCodecInfo.CodecCapabilities.COLOR_FormatYUV420Flexible)
        val codec = MediaCodec.createDecoderByType(format.getString(MediaFormat.KEY_MIME).orEmpty())
        try {
            codec.configure(format, null, null, 0)
            codec.start()
            return decode(codec, extractor, offsetS)
        } finally {
            codec.release()
        }
    }

    private fun decode(codec: MediaCodec, extractor: MediaExtractor, offsetS: Double): Double {
        val info = MediaCodec.BufferInfo()
        val startMs = SystemClock.elapsedRealtime()
        var matrix = YuvMatrix.BT601
        var lastS = 0.0
        var fed = false
        while (!closed) {
            if (!fed) fed = feed(codec, extractor)
            val at = codec.dequeueOutputBuffer(info, WAIT_US)
            if (at == MediaCodec.INFO_OUTPUT_FORMAT_CHANGED) matrix = matrixOf(codec.outputFormat)
            if (at < 0) continue
            if (info.size > 0) {
                lastS = info.presentationTimeUs / 1e6
                val waitMs = startMs + info.presentationTimeUs / 1000 - SystemClock.elapsedRealtime()
                if (waitMs > 0) Thread.sleep(waitMs)
                show(codec, at, matrix, offsetS + lastS)
            }
            codec.releaseOutputBuffer(at, false)
            if (info.flags and MediaCodec.BUFFER_FLAG_END_OF_STREAM != 0) break
        }
        return lastS + FRAME_S
    }

    private fun feed(codec: MediaCodec, extractor: MediaExtractor): Boolean {
        val at = codec.dequeueInputBuffer(WAIT_US)
        if (at < 0) return false
        val buffer = codec.getInputBuffer(at) ?: throw IOException("the decoder gave no buffer")
        val count = extractor.readSampleData(buffer, 0)
        if (count < 0) {
            codec.queueInputBuffer(at, 0, 0, 0, MediaCodec.BUFFER_FLAG_END_OF_STREAM)
            return true
        }
        codec.queueInputBuffer(at, 0, count, extractor.sampleTime, 0)
        extractor.advance()
        return false
    }

    private fun show(codec: MediaCodec, at: Int, matrix: YuvMatrix, timeS: Double) {
        // the decoder takes its buffer back, so the pixels are made now
        val picture = codec.getOutputImage(at)?.use { pixelsOf(it, matrix, free.poll()) } ?: throw IOException("the decoder gave no image")
        onFrame(DriverFrame(timeS, { picture }, { free.offer(picture) }))
    }

    private fun matrixOf(format: MediaFormat): YuvMatrix = when {
        !format.containsKey(MediaFormat.KEY_COLOR_RANGE) || !format.containsKey(MediaFormat.KEY_COLOR_STANDARD) -> YuvMatrix.BT601
        format.getInteger(MediaFormat.KEY_COLOR_RANGE) == MediaFormat.COLOR_RANGE_FULL -> YuvMatrix.CAMERA
        format.getInteger(MediaFormat.KEY_COLOR_STANDARD) == MediaFormat.COLOR_STANDARD_BT709 -> YuvMatrix.BT709
        else -> YuvMatrix.BT601
    }
}
