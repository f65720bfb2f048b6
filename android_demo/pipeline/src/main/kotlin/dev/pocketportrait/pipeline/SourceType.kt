package dev.pocketportrait.pipeline

import java.io.ByteArrayOutputStream
import java.io.DataOutputStream

private const val SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
private const val PACKET = "<?xpacket begin=\"\ufeff\" id=\"W5M0MpCehiHzreSzNTczkc9d\"?>" +
    "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\">" +
    "<rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\"><rdf:Description rdf:about=\"\"" +
    " xmlns:Iptc4xmpExt=\"http://iptc.org/std/Iptc4xmpExt/2008-02-29/\">" +
    "<Iptc4xmpExt:DigitalSourceType>$SOURCE_TYPE</Iptc4xmpExt:DigitalSourceType>" +
    "</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end=\"r\"?>"
private const val XMP_HIGH = -0x418530346856bd18L // BE7ACFCB 97A942E8, which names XMP
private const val XMP_LOW = -0x638e666b6e1c5054L // 9C719994 91E3AFAC

/** Returns the box that says, at the end of an MP4, that a trained model made it: XMP with IPTC's digital source type. */
fun sourceTypeBox(): ByteArray {
    val packet = PACKET.toByteArray()
    val box = ByteArrayOutputStream()
    DataOutputStream(box).run {
        writeInt(24 + packet.size)
        writeBytes("uuid")
        writeLong(XMP_HIGH)
        writeLong(XMP_LOW)
        write(packet)
    }
    return box.toByteArray()
}
