package dev.pocketportrait.demo

import android.graphics.Bitmap
import android.graphics.Paint
import android.graphics.RectF
import android.media.MediaCodec
import android.media.MediaCodecInfo
import android.media.MediaFormat
import android.media.MediaMuxer
import android.view.Surface
import dev.pocketportrait.pipeline.Picture
import dev.pocketportrait.pipeline.SIDE_PX
import dev.pocketportrait.pipeline.sourceTypeBox
import java.io.File
import java.io.FileOutputStream
import java.io.IOException

private const val VIDEO_PX = 512 // small encoders refuse less
private const val BITS_PER_S = 4_000_000
private const val FRAMES_PER_S = 30
private const val END_WAIT_US = 100_000L
private const val END_TRIES = 20 // two seconds in all

/**
 * Records pictures as H.264 in MP4, without sound; every picture gets the label, and the file says that a model made it.
 *
 * Not for two threads at a time.
 *
 * @throws IOException the phone has no encoder, or the file cannot be written.
 */
class Recorder(private val file: File, private val label: PictureLabel) {
    private val codec = MediaCodec.createEncoderByType(MediaFormat.MIMETYPE_VIDEO_AVC)
    private val surface: Surface
    private val muxer: MediaMuxer
    private val info = MediaCodec.BufferInfo()
    private val bitmap = Bitmap.createBitmap(SIDE_PX, SIDE_PX, Bitmap.Config.ARGB_8888)
    private val pixels = IntArray(SIDE_PX * SIDE_PX)
    private val whole = RectF(0f, 0f, VIDEO_PX.toFloat(), VIDEO_PX.toFloat())
    private val smooth = Paint(Paint.FILTER_BITMAP_FLAG)
    private var track = -1
    private var firstUs = -1L

    init {
        val format = MediaFormat.createVideoFormat(MediaFormat.MIMETYPE_VIDEO_AVC, VIDEO_PX, VIDEO_PX).apply {
            setInteger(MediaFormat.KEY_COLOR_FORMAT, MediaCodecInfo.CodecCapabilities.COLOR_FormatSurface)
            setInteger(MediaFormat.KEY_BIT_RATE, BITS_PER_S)
            setInteger(MediaFormat.KEY_FRAME_RATE, FRAMES_PER_S)
            setInteger(MediaFormat.KEY_I_FRAME_INTERVAL, 1)
        }
        try {
            translated { codec.configure(format, null, null, MediaCodec.CONFIGURE_FLAG_ENCODE) }
            surface = translated { codec.createInputSurface() }
            translated { codec.start() }
            muxer = MediaMuxer(file.path, MediaMuxer.OutputFormat.MUXER_OUTPUT_MPEG_4)
        } catch (error: IOException) {
            codec.release()
            throw error
        }
    }

    /**
     * Adds a picture; its time is now.
     *
     * @throws IOException the encoder failed, or the storage is full.
     */
    fun add(picture: Picture) = translated {
        picture.intoPixels(pixels)
        bitmap.setPixels(pixels, 0, SIDE_PX, 0, 0, SIDE_PX, SIDE_PX)
        val canvas = surface.lockHardwareCanvas()
        try {
            canvas.drawBitmap(bitmap, null, whole, smooth)
            label.draw(canvas, whole)
        } finally {
            surface.unlockCanvasAndPost(canvas)
        }
        drain(0, 1)
    }

    /**
     * Finishes the file; returns whether it holds any picture.
     *
     * @throws IOException the encoder failed, or the storage is full.
     */
    fun finish(): Boolean {
        try {
            translated {
                codec.signalEndOfInputStream()
                drain(END_WAIT_US, END_TRIES)
                if (track >= 0) muxer.stop()
            }
        } finally {
            codec.release()
            surface.release()
            muxer.release()
        }
        val holds = track >= 0 && firstUs >= 0
        if (holds) FileOutputStream(file, true).use { it.write(sourceTypeBox()) }
        return holds
    }

    private fun drain(waitUs: Long, tries: Int) {
        var left = tries
        while (left > 0) {
            val at = codec.dequeueOutputBuffer(info, waitUs)
            if (at == MediaCodec.INFO_OUTPUT_FORMAT_CHANGED) {
                track = muxer.addTrack(codec.outputFormat)
                muxer.start()
            } else if (at >= 0) {
                write(at)
                if (info.flags and MediaCodec.BUFFER_FLAG_END_OF_STREAM != 0) return
            } else {
                left--
            }
        }
    }

    private fun write(at: Int) {
        val isSetup = info.flags and MediaCodec.BUFFER_FLAG_CODEC_CONFIG != 0 // the muxer has it from the format
        val buffer = codec.getOutputBuffer(at)
        if (buffer != null && info.size > 0 && !isSetup && track >= 0) {
            if (firstUs < 0) firstUs = info.presentationTimeUs
            info.presentationTimeUs -= firstUs
            muxer.writeSampleData(track, buffer, info)
        }
        codec.releaseOutputBuffer(at, false)
    }
}

/** Encoders and muxers tell all troubles, a full storage too, by exceptions that nobody has to catch. */
private inline fun <T> translated(work: () -> T): T = try {
    work()
} catch (error: RuntimeException) {
    throw IOException(error.message ?: error.toString(), error)
}
