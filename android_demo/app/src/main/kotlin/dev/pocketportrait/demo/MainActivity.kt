package dev.pocketportrait.demo

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ComponentCallbacks2
import android.content.Intent
import android.content.pm.PackageManager
import android.net.Uri
import android.os.Bundle
import android.view.Surface
import android.view.View
import android.view.WindowManager
import android.widget.Button
import android.widget.TextView
import dev.pocketportrait.pipeline.DrawnFrame
import dev.pocketportrait.pipeline.FrameClock
import dev.pocketportrait.pipeline.Picture
import java.io.File
import java.io.IOException
import dev.pocketportrait.pipeline.Bundle as PortraitBundle

private const val PICK_PHOTO = 1
private const val SAVE_VIDEO = 2
private const val ASK_CAMERA = 3
private const val STATUS_EVERY = 10 // frames; the thermal reading is a call to another process

/** A photo, a driver, the live picture. */
class MainActivity : Activity(), PerformerListener {
    private lateinit var portrait: PortraitView
    private lateinit var message: TextView
    private lateinit var status: TextView
    private lateinit var record: Button
    private var performer: Performer? = null
    private var source: DriverSource? = null
    private var square: Picture? = null
    private var wantsCamera = false
    private var isMarked = false
    private var numDrawn = 0

    // touched by the performer's thread, and by the main one to start and stop
    private val recording = Any()
    private var recorder: Recorder? = null
    private var isUnsaved = false // a recording that ended when the app was left; it is offered when the app is back

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        keepInsideSystemBars(findViewById(R.id.root))
        portrait = findViewById(R.id.portrait)
        message = findViewById(R.id.message)
        status = findViewById(R.id.status)
        record = findViewById(R.id.record)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        findViewById<Button>(R.id.photo).setOnClickListener { choosePhoto() }
        findViewById<Button>(R.id.camera).setOnClickListener { drive(camera = true) }
        findViewById<Button>(R.id.clip).setOnClickListener { drive(camera = false) }
        findViewById<Button>(R.id.neutral).setOnClickListener { performer?.resetNeutral() }
        findViewById<Button>(R.id.test).setOnClickListener { startActivity(Intent(this, SelfTestActivity::class.java)) }
        record.setOnClickListener { if (isRecording()) stopRecording() else startRecording() }
    }

    override fun onStart() {
        super.onStart()
        if (square != null) drive(wantsCamera)
        if (isUnsaved) offerToSave()
    }

    override fun onStop() {
        super.onStop()
        // the camera is another app's now, and memory should be too
        if (isRecording()) isUnsaved = finishRecording()
        putAway()
    }

    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        if (level >= ComponentCallbacks2.TRIM_MEMORY_RUNNING_CRITICAL && level < ComponentCallbacks2.TRIM_MEMORY_UI_HIDDEN) {
            putAway()
            tell(getString(R.string.memory_low))
        }
    }

    override fun onActivityResult(requestCode: Int, resultCode: Int, data: Intent?) {
        super.onActivityResult(requestCode, resultCode, data)
        val uri = data?.data
        when (requestCode) {
            PICK_PHOTO -> if (resultCode == RESULT_OK && uri != null) load(uri)
            SAVE_VIDEO -> save(if (resultCode == RESULT_OK) uri else null)
        }
    }

    override fun onRequestPermissionsResult(requestCode: Int, permissions: Array<String>, grantResults: IntArray) {
        if (requestCode != ASK_CAMERA) return
        if (grantResults.firstOrNull() == PackageManager.PERMISSION_GRANTED) drive(camera = true) else onCameraTrouble(CameraTrouble.REFUSED, "")
    }

    override fun onReady(bundle: PortraitBundle) = runOnUiThread {
        isMarked = "mark" in bundle.manifest.model
        if (message.text.toString() == getString(R.string.preparing)) message.text = ""
    }

    override fun onDrawn(frame: DrawnFrame, timeS: Double, clock: FrameClock) {
        synchronized(recording) {
            try {
                recorder?.add(frame.picture)
            } catch (error: IllegalStateException) { // the encoder's, CodecException too
                runOnUiThread { stopRecording() }
                tell(getString(R.string.recording_failed, error.message.orEmpty()))
            }
        }
        numDrawn++
        val line = if (numDrawn % STATUS_EVERY == 0) getString(R.string.status, clock.framesPerSecond, clock.medianMs, thermalText(this, thermalStatus(this))) else null
        runOnUiThread {
            portrait.show(frame.picture, made = true)
            line?.let(status::setText)
        }
    }

    override fun onTrouble(message: String) = tell(getString(R.string.model_failed, message))

    private fun choosePhoto() {
        val pick = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        ask(pick, PICK_PHOTO)
    }

    private fun load(uri: Uri) = inBackground {
        try {
            val photo = readPhoto(contentResolver, uri)
            runOnUiThread { take(photo) }
        } catch (error: IOException) {
            tell(getString(R.string.photo_unreadable, error.message.orEmpty()))
        } catch (error: SecurityException) {
            tell(getString(R.string.photo_unreadable, error.message.orEmpty()))
        } catch (error: OutOfMemoryError) {
            tell(getString(R.string.memory_low))
        }
    }

    private fun take(photo: Photo) {
        square = photo.square
        portrait.show(photo.square, made = false)
        performer?.setPhoto(photo.square)
        if (source == null) drive(wantsCamera)
        if (!photo.hasFace) tell(getString(R.string.photo_without_face))
    }

    private fun drive(camera: Boolean) {
        val photo = square ?: return choosePhoto()
        if (camera && checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            return requestPermissions(arrayOf(Manifest.permission.CAMERA), ASK_CAMERA)
        }
        wantsCamera = camera
        source?.close()
        val worker = performer ?: Performer(applicationContext, this).also {
            tell(getString(R.string.preparing))
            it.setPhoto(photo)
            performer = it
        }
        worker.driverChanged(live = camera)
        portrait.showsGuide = camera
        source = (if (camera) CameraSource(this, ::displayDegrees, worker::offer, ::onCameraTrouble) else ClipSource(this, worker::offer, ::onClipTrouble)).also { it.start() }
    }

    private fun putAway() {
        source?.close()
        source = null
        performer?.close()
        performer = null
    }

    private fun onCameraTrouble(trouble: CameraTrouble, detail: String) = runOnUiThread {
        // who has no camera to give is not asked again: the clip drives
        if (trouble == CameraTrouble.REFUSED || trouble == CameraTrouble.MISSING) drive(camera = false)
        message.text = when (trouble) {
            CameraTrouble.REFUSED -> getString(R.string.camera_refused)
            CameraTrouble.IN_USE -> getString(R.string.camera_in_use)
            CameraTrouble.MISSING -> getString(R.string.camera_missing)
            CameraTrouble.FAILED -> getString(R.string.camera_failed, detail)
        }
    }

    private fun onClipTrouble(detail: String) = tell(getString(R.string.clip_failed, detail))

    private fun displayDegrees(): Int = when (windowManager.defaultDisplay.rotation) {
        Surface.ROTATION_90 -> 90
        Surface.ROTATION_180 -> 180
        Surface.ROTATION_270 -> 270
        else -> 0
    }

    private fun isRecording(): Boolean = synchronized(recording) { recorder != null }

    private fun startRecording() {
        try {
            val made = Recorder(videoFile(), PictureLabel(this))
            synchronized(recording) { recorder = made }
            record.setText(R.string.stop_recording)
        } catch (error: IOException) {
            tell(getString(R.string.recording_failed, error.message.orEmpty()))
        } catch (error: IllegalStateException) {
            tell(getString(R.string.recording_failed, error.message.orEmpty()))
        }
    }

    private fun stopRecording() {
        if (finishRecording()) offerToSave() else tell(getString(R.string.recording_dropped))
    }

    /** Ends the recording; returns whether there is one to save. */
    private fun finishRecording(): Boolean {
        val finished = synchronized(recording) { recorder.also { recorder = null } }
        record.setText(R.string.record)
        return try {
            finished?.finish() ?: false
        } catch (error: IOException) {
            false
        } catch (error: IllegalStateException) {
            false
        }
    }

    private fun offerToSave() {
        isUnsaved = false
        val create = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("video/mp4")
        ask(create.putExtra(Intent.EXTRA_TITLE, "portrait.mp4"), SAVE_VIDEO)
    }

    private fun ask(intent: Intent, code: Int) = try {
        startActivityForResult(intent, code)
    } catch (error: ActivityNotFoundException) {
        tell(getString(R.string.no_documents))
    }

    private fun save(uri: Uri?) = inBackground {
        val file = videoFile()
        try {
            if (uri == null) return@inBackground tell(getString(R.string.recording_dropped))
            val target = contentResolver.openOutputStream(uri) ?: throw IOException("the place is gone")
            target.use { sink -> file.inputStream().use { it.copyTo(sink) } }
            tell(getString(if (isMarked) R.string.recording_kept else R.string.recording_kept_unmarked))
        } catch (error: IOException) {
            tell(getString(R.string.recording_failed, error.message.orEmpty()))
        } finally {
            file.delete()
        }
    }

    private fun videoFile() = File(cacheDir, "recording.mp4")

    private fun tell(text: String) = runOnUiThread { message.text = text }
}

/** Runs work that may take long on a thread of its own. */
internal fun inBackground(work: () -> Unit) {
    Thread(work, "background").start()
}

/** Keeps a screen's content clear of the bars that newer Android draws it behind. */
internal fun keepInsideSystemBars(root: View) = root.setOnApplyWindowInsetsListener { view, insets ->
    view.setPadding(insets.systemWindowInsetLeft, insets.systemWindowInsetTop, insets.systemWindowInsetRight, insets.systemWindowInsetBottom)
    insets
}
