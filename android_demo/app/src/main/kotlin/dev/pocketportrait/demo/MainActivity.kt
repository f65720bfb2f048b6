package dev.pocketportrait.demo

import android.Manifest
import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.ComponentCallbacks2
import android.content.Intent
import android.content.pm.PackageManager
import android.content.res.Configuration
import android.net.Uri
import android.os.Bundle
import android.view.Surface
import android.view.WindowManager
import android.widget.Button
import android.widget.TextView
import dev.pocketportrait.pipeline.DrawnFrame
import dev.pocketportrait.pipeline.FrameClock
import dev.pocketportrait.pipeline.Picture
import java.io.IOException
import dev.pocketportrait.pipeline.Bundle as PortraitBundle

private const val PICK_PHOTO = 1
private const val SAVE_VIDEO = 2
private const val ASK_CAMERA = 3
private const val STATUS_EVERY = 10 // frames; the thermal reading is a call to another process

// what a screen that the system puts away keeps
private const val KEPT_PHOTO = "photo"
private const val KEPT_CAMERA = "camera"
private const val KEPT_SAVING = "saving"

/** A photo, a driver, the live picture. */
class MainActivity : Activity(), PerformerListener {
    private lateinit var portrait: PortraitView
    private lateinit var message: TextView
    private lateinit var status: TextView
    private lateinit var record: Button
    private lateinit var neutral: Button
    private lateinit var recording: Recording
    private var performer: Performer? = null
    private var source: DriverSource? = null
    private var photoUri: Uri? = null
    private var square: Picture? = null
    private var wantsCamera = false
    private var isStarted = false
    private var isMarked = false
    private var isSaving = false // the screen on which a place is chosen is open
    private var numDrawn = 0

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.main)
        keepInsideSystemBars(findViewById(R.id.root))
        arrange(findViewById(R.id.root), resources.configuration)
        portrait = findViewById(R.id.portrait)
        message = findViewById(R.id.message)
        status = findViewById(R.id.status)
        record = findViewById(R.id.record)
        neutral = findViewById(R.id.neutral)
        recording = Recording(applicationContext)
        window.addFlags(WindowManager.LayoutParams.FLAG_KEEP_SCREEN_ON)
        findViewById<Button>(R.id.photo).setOnClickListener { choosePhoto() }
        findViewById<Button>(R.id.camera).setOnClickListener { drive(camera = true) }
        findViewById<Button>(R.id.clip).setOnClickListener { drive(camera = false) }
        findViewById<Button>(R.id.test).setOnClickListener { startActivity(Intent(this, SelfTestActivity::class.java)) }
        neutral.setOnClickListener { performer?.resetNeutral() }
        record.setOnClickListener { if (recording.isRunning) stopRecording() else startRecording() }
        showButtons()
        savedInstanceState?.let(::restore)
    }

    private fun restore(kept: Bundle) {
        wantsCamera = kept.getBoolean(KEPT_CAMERA)
        isSaving = kept.getBoolean(KEPT_SAVING)
        kept.getString(KEPT_PHOTO)?.let { load(Uri.parse(it)) }
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putBoolean(KEPT_CAMERA, wantsCamera)
        outState.putBoolean(KEPT_SAVING, isSaving)
        outState.putString(KEPT_PHOTO, photoUri?.toString())
    }

    override fun onConfigurationChanged(newConfig: Configuration) {
        super.onConfigurationChanged(newConfig)
        arrange(findViewById(R.id.root), newConfig)
    }

    override fun onStart() {
        super.onStart()
        isStarted = true
        if (square != null) drive(wantsCamera)
        if (!isSaving && recording.file.exists()) offerToSave()
    }

    override fun onStop() {
        super.onStop()
        isStarted = false
        // the camera is another app's now, and memory should be too
        putAway()
        if (recording.isRunning) stopRecording()
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
            SAVE_VIDEO -> {
                isSaving = false
                save(if (resultCode == RESULT_OK) uri else null)
            }
        }
    }

    override fun onRequestPermissionsResult(requestCode: Int, permissions: Array<String>, grantResults: IntArray) {
        if (requestCode != ASK_CAMERA || grantResults.isEmpty()) return // empty: the question was taken back, not answered
        if (grantResults[0] == PackageManager.PERMISSION_GRANTED) drive(camera = true) else onCameraTrouble(CameraTrouble.REFUSED, "")
    }

    override fun onReady(bundle: PortraitBundle) = runOnUiThread {
        isMarked = "mark" in bundle.manifest.model
        if (message.text.toString() == getString(R.string.preparing)) message.text = ""
    }

    override fun onFraming(square: Picture) = portrait.show(square, Shown.CAMERA)

    override fun onDrawn(frame: DrawnFrame, clock: FrameClock) {
        portrait.show(frame.picture, Shown.PORTRAIT)
        try {
            recording.add(frame.picture)
        } catch (error: IOException) {
            stopRecording(error.message.orEmpty())
        }
        if (numDrawn++ % STATUS_EVERY != 0) return
        val line = getString(R.string.status, clock.framesPerSecond, clock.medianMs, thermalText(this, thermalStatus(this)))
        runOnUiThread { status.text = line }
    }

    override fun onEnded(performer: Performer, message: String) = runOnUiThread {
        if (this.performer !== performer) return@runOnUiThread
        putAway() // the next tap on a driver begins anew
        this.message.text = message
    }

    private fun choosePhoto() {
        val pick = Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("image/*")
        ask(pick, PICK_PHOTO)
    }

    private fun load(uri: Uri) = inBackground {
        try {
            val photo = readPhoto(contentResolver, uri)
            runOnUiThread { take(photo, uri) }
        } catch (error: IOException) {
            tell(getString(R.string.photo_unreadable, error.message.orEmpty()))
        } catch (error: RuntimeException) { // of the app that has the photo
            tell(getString(R.string.photo_unreadable, error.message.orEmpty()))
        } catch (error: OutOfMemoryError) {
            tell(getString(R.string.memory_low))
        }
    }

    private fun take(photo: Photo, uri: Uri) {
        photoUri = uri
        square = photo.square
        portrait.show(photo.square, Shown.PHOTO)
        performer?.setPhoto(photo.square)
        if (source == null) drive(wantsCamera)
        if (!photo.hasFace) tell(getString(R.string.photo_without_face))
    }

    private fun drive(camera: Boolean) {
        val photo = square ?: return choosePhoto()
        wantsCamera = camera
        if (!isStarted) return // comes here again when it is
        if (camera && checkSelfPermission(Manifest.permission.CAMERA) != PackageManager.PERMISSION_GRANTED) {
            return requestPermissions(arrayOf(Manifest.permission.CAMERA), ASK_CAMERA)
        }
        source?.close()
        tell(if (performer == null) getString(R.string.preparing) else "")
        val worker = performer ?: Performer(applicationContext, this).also {
            it.setPhoto(photo)
            it.start()
            performer = it
        }
        worker.driverChanged(live = camera)
        source = (if (camera) CameraSource(this, ::displayDegrees, worker::offer, ::onCameraTrouble) else ClipSource(this, worker::offer, ::onClipTrouble)).also { it.start() }
        showButtons()
    }

    private fun putAway() {
        source?.close()
        source = null
        performer?.close()
        performer = null
        showButtons()
    }

    private fun showButtons() {
        val isRecording = recording.isRunning
        neutral.isEnabled = performer != null
        record.isEnabled = performer != null || isRecording
        record.setText(if (isRecording) R.string.stop_recording else R.string.record)
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

    private fun startRecording() {
        try {
            recording.begin()
        } catch (error: IOException) {
            tell(getString(R.string.recording_failed, error.message.orEmpty()))
        }
        showButtons()
    }

    /** Ends the recording, whose [trouble] may be the reason, and offers what it has; from any thread. */
    private fun stopRecording(trouble: String? = null) = inBackground {
        var text = trouble?.let { getString(R.string.recording_failed, it) }
        val holds = try {
            recording.end() ?: return@inBackground
        } catch (error: IOException) {
            text = getString(R.string.recording_failed, error.message.orEmpty())
            false
        }
        runOnUiThread {
            showButtons()
            message.text = text ?: if (holds) "" else getString(R.string.recording_empty)
            if (holds && isStarted && !isSaving) offerToSave() // else when the app is back
        }
    }

    private fun offerToSave() {
        val create = Intent(Intent.ACTION_CREATE_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("video/mp4")
        isSaving = ask(create.putExtra(Intent.EXTRA_TITLE, "portrait.mp4"), SAVE_VIDEO)
    }

    private fun ask(intent: Intent, code: Int): Boolean = try {
        startActivityForResult(intent, code)
        true
    } catch (error: ActivityNotFoundException) {
        tell(getString(R.string.no_documents))
        false
    }

    /** Copies the recording to where its user chose; one that could not be copied waits for the next try. */
    private fun save(uri: Uri?) = inBackground {
        try {
            if (uri == null) {
                recording.file.delete()
                return@inBackground tell(getString(R.string.recording_dropped))
            }
            val target = contentResolver.openOutputStream(uri) ?: throw IOException("the place is gone")
            target.use { sink -> recording.file.inputStream().use { it.copyTo(sink) } }
            recording.file.delete()
            tell(getString(if (isMarked) R.string.recording_kept else R.string.recording_kept_unmarked))
        } catch (error: IOException) {
            tell(getString(R.string.recording_waits, error.message.orEmpty()))
        } catch (error: RuntimeException) { // of the app that has the place
            tell(getString(R.string.recording_waits, error.message.orEmpty()))
        }
    }

    private fun tell(text: String) = runOnUiThread { message.text = text }
}
